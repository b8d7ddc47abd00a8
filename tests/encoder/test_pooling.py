"""A model that does not say how it pools is read by a pooling that is said; one that says it is read by no other."""

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from debater_search.encoder import Encoder, load_again
from debater_search.errors import DebaterError
from debater_search.identity import EncoderInfo
from tests.encoder.conftest import SENTENCE, write


def states(folder: Path, ids: list[int]) -> torch.Tensor:
    from transformers import AutoModel

    with torch.no_grad():
        return AutoModel.from_pretrained(folder)(input_ids=torch.tensor([ids])).last_hidden_state[0]


@pytest.mark.parametrize(("pooling", "reduce"), [("cls", lambda h: h[0]), ("max", lambda h: h.amax(0))])
def test_a_plain_model_is_read_by_the_pooling_that_is_asked_for(
    tiny_model: Callable[..., Path], caplog: pytest.LogCaptureFixture, pooling: str, reduce: Callable
) -> None:
    with caplog.at_level(logging.INFO):
        encoder = Encoder.load(tiny_model("bert"), device="cpu", pooling=pooling)
    [ids] = encoder.token_ids(["lift of a wing"], "document")
    wanted = torch.nn.functional.normalize(reduce(states(tiny_model("bert"), ids)), dim=0).numpy()
    assert abs(encoder.encode_documents(["lift of a wing"])[0] - wanted).max() < 1e-5
    assert abs(encoder.encode_queries(["lift of a wing"])[0] - wanted).max() < 1e-5
    assert encoder.recipe["pooling"] == pooling
    assert not caplog.messages


@pytest.mark.parametrize(("family", "pooling"), [("bert", "mean"), ("llama", "last")])
def test_the_pooling_is_said_where_no_file_says_it(
    tiny_model: Callable[..., Path], caplog: pytest.LogCaptureFixture, family: str, pooling: str
) -> None:
    with caplog.at_level(logging.INFO):
        encoder = Encoder.load(tiny_model(family), device="cpu")
    assert [f"pooling {pooling}" in message for message in caplog.messages] == [True]
    caplog.clear()
    info = EncoderInfo.of(encoder)
    with caplog.at_level(logging.INFO):  # an index says it once, when it is built
        assert load_again(info, Path("index"), device="cpu").fingerprint == encoder.fingerprint
    assert not caplog.messages


def test_the_pooling_that_was_asked_for_belongs_to_the_index(tiny_model: Callable[..., Path]) -> None:
    encoder = Encoder.load(tiny_model("bert"), device="cpu", pooling="cls")
    assert load_again(EncoderInfo.of(encoder), Path("index"), device="cpu").spec == encoder.spec
    assert Encoder.load(tiny_model("bert"), device="cpu").fingerprint != encoder.fingerprint


def test_a_pooling_that_there_is_not_is_refused_with_those_there_are(tiny_model: Callable[..., Path]) -> None:
    with pytest.raises(DebaterError, match=r"pooling called 'first'.*mean, cls, last"):
        Encoder.load(tiny_model("bert"), device="cpu", pooling="first")


def test_a_folder_that_declares_its_pooling_is_read_by_no_other(sentence_transformer: Callable[..., Path]) -> None:
    folder = sentence_transformer("cls_token")
    with pytest.raises(DebaterError, match="declares the pooling cls"):
        Encoder.load(folder, device="cpu", pooling="mean")
    assert Encoder.load(folder, device="cpu", pooling="cls").spec.document_pooling == "cls"
    Encoder.load(folder, device="cpu").save(folder.parent / "saved")
    with pytest.raises(DebaterError, match="declares the pooling cls"):
        Encoder.load(folder.parent / "saved", device="cpu", pooling="mean")


def test_a_transformer_alone_in_a_sentence_transformer_may_be_given_a_pooling(
    tiny_model: Callable[..., Path], tmp_path: Path
) -> None:
    shutil.copytree(tiny_model("bert"), tmp_path / "st")
    write(tmp_path / "st" / "modules.json", [{"path": "", "type": SENTENCE + "Transformer"}])
    assert Encoder.load(tmp_path / "st", device="cpu", pooling="cls").spec.document_pooling == "cls"


def test_an_adapter_that_does_not_say_how_it_pools_may_be_given_a_pooling(
    minicpm_adapter: Path, minicpm_base: Path, tmp_path: Path
) -> None:
    shutil.copytree(minicpm_adapter, tmp_path / "adapter")
    (tmp_path / "adapter" / "llm2vec_config.json").unlink()
    with pytest.raises(DebaterError, match="does not say how it pools") as caught:
        Encoder.load(tmp_path / "adapter", base_model=minicpm_base, device="cpu")
    assert "`pooling`" in caught.value.hint
    encoder = Encoder.load(tmp_path / "adapter", base_model=minicpm_base, device="cpu", pooling="mean")
    assert (encoder.spec.document_pooling, encoder.trained_with_instructions) == ("mean", False)


@pytest.mark.parametrize(
    "architecture",
    ["BertForSequenceClassification", "BertForTokenClassification", "BertForQuestionAnswering",
     "BertForMultipleChoice", "HF_ColBERT"],
)  # fmt: skip
def test_a_plain_model_for_another_task_is_refused_unless_its_pooling_is_named(
    tiny_model: Callable[..., Path], tmp_path: Path, architecture: str
) -> None:
    shutil.copytree(tiny_model("bert"), tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "architectures": [architecture]}))
    with pytest.raises(DebaterError, match=architecture):
        Encoder.load(tmp_path / "model", device="cpu")
    assert Encoder.load(tmp_path / "model", device="cpu", pooling="mean").dim == 32
