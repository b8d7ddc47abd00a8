"""Linear layers on a CPU: laid out once, or in 8-bit integers; never for what trains."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cosine_similarity

from debater_search.encoder import Encoder
from debater_search.encoder.speed import linear
from debater_search.encoder.speed.linear import lay_out, lay_out_frozen
from debater_search.errors import DebaterError

STATES = torch.randn(3, 7, 48, generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=[True, False], ids=["bias", "no bias"])
def layers(request: pytest.FixtureRequest) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(48, 96, bias=request.param), nn.Tanh(), nn.Linear(96, 32, bias=request.param))


def test_layers_laid_out_compute_the_same(layers: nn.Sequential) -> None:
    usual = layers(STATES)
    lay_out(layers)
    with torch.inference_mode():
        assert torch.allclose(layers(STATES), usual, atol=1e-5)
        assert torch.allclose(layers(STATES[0, :1]), usual[0, :1], atol=1e-5)


def test_their_kernel_is_used_and_only_without_gradients(
    layers: nn.Sequential, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    make = linear._in_float32
    monkeypatch.setattr(linear, "_in_float32", lambda layer: lambda states: (calls.append(1), make(layer)(states))[1])
    lay_out(layers)
    calls.clear()
    layers(STATES).sum().backward()
    assert not calls
    assert layers[0].weight.grad.abs().sum() > 0
    with torch.no_grad():
        layers(STATES)
    assert len(calls) == 2


@pytest.mark.parametrize("int8", [False, True])
def test_changed_weights_are_what_counts(layers: nn.Sequential, int8: bool) -> None:
    lay_out(layers, int8=int8)
    with torch.no_grad():
        layers[0].weight.mul_(2)
        layers[2].weight = nn.Parameter(layers[2].weight + 1)
        expected = layers[2].weight @ torch.tanh(
            nn.functional.linear(STATES[0, 0], layers[0].weight, layers[0].bias)
        ) + (layers[2].bias if layers[2].bias is not None else 0)
        assert torch.allclose(layers(STATES)[0, 0], expected, atol=1e-5)


def test_weights_stay_what_is_saved(layers: nn.Sequential) -> None:
    before = {name: tensor.clone() for name, tensor in layers.state_dict().items()}
    lay_out(layers, int8=True)
    after = layers.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_8_bit_integers_are_close_and_do_not_depend_on_the_batch(layers: nn.Sequential) -> None:
    usual = layers(STATES)
    lay_out(layers, int8=True)
    with torch.inference_mode():
        found = layers(STATES)
        assert not torch.equal(found, usual)
        assert cosine_similarity(found, usual, dim=-1).min() > 0.999
        louder = torch.cat([STATES[:1], 1000 * STATES[1:]])  # a scale of the batch would flatten the first
        assert torch.allclose(layers(louder)[0], found[0], atol=1e-6)
        assert layers(torch.zeros(1, 48)).isfinite().all()


def test_large_models_keep_one_copy_of_their_weights(layers: nn.Sequential, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "MOST_BYTES", 1000)
    lay_out(layers)
    assert "forward" not in vars(layers[0])


@pytest.mark.parametrize("fault", [AttributeError("no such operator"), None], ids=["missing", "wrong"])
def test_kernels_that_are_not_as_expected_are_left_alone(
    layers: nn.Sequential, fault: Exception | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(layer: nn.Linear) -> linear.Forward:
        if fault is not None:
            raise fault
        return lambda states: torch.zeros(*states.shape[:-1], layer.out_features)

    monkeypatch.setattr(linear, "_in_float32", make)
    monkeypatch.setattr(linear, "_in_int8", make)
    lay_out(layers)
    assert "forward" not in vars(layers[0])
    with pytest.raises(DebaterError, match="8-bit"):
        lay_out(layers, int8=True)


def test_an_encoder_of_8_bit_integers_says_so_and_has_the_fingerprint_of_its_weights() -> None:
    minilm = Encoder.load("minilm", device="cpu")
    coarse = Encoder.load("minilm", dtype="int8", device="cpu")
    assert (coarse.dtype, minilm.dtype) == ("int8", "float32")
    assert coarse.fingerprint == minilm.fingerprint
    texts = ["a wing in a slipstream", "the boundary layer"]
    assert 0.98 < (coarse.encode_documents(texts) * minilm.encode_documents(texts)).sum(1).min() < 0.99999


def test_8_bit_integers_are_for_cpus() -> None:
    with pytest.raises(DebaterError, match="CPU"):
        Encoder.load("minilm", dtype="int8", device="mps")


def test_frozen_layers_hand_gradients_back_by_their_own_kernel(
    layers: nn.Sequential, monkeypatch: pytest.MonkeyPatch
) -> None:
    states, usual_states = (STATES.clone().requires_grad_() for _ in range(2))
    usual = layers(usual_states)
    usual.square().sum().backward()
    calls = []
    apply = linear._Frozen.apply
    monkeypatch.setattr(linear._Frozen, "apply", lambda *given: (calls.append(1), apply(*given))[1])
    layers.requires_grad_(False)
    lay_out_frozen(layers)
    layers(states).square().sum().backward()
    assert len(calls) == 2
    assert torch.allclose(states.grad, usual_states.grad, atol=1e-4)


def test_layers_that_learn_or_have_changed_are_not_taken_for_frozen(layers: nn.Sequential) -> None:
    layers[0].requires_grad_(False)
    lay_out_frozen(layers)
    layers[2](torch.ones(1, 96)).sum().backward()
    assert layers[2].weight.grad is not None
    with torch.no_grad():
        layers[0].weight.mul_(2)
    assert torch.equal(layers[0](STATES), nn.functional.linear(STATES, layers[0].weight, layers[0].bias))
    layers[0].requires_grad_(True)
    layers[0](STATES).sum().backward()
    assert layers[0].weight.grad is not None
