"""Exported folders give the vectors of the model, in each format; what is in the way is refused."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from debater_search.encoder import Encoder, load_again
from debater_search.encoder.card import write_card
from debater_search.encoder.export import Format, export
from debater_search.encoder.export.push import push
from debater_search.encoder.export.source import PROBES
from debater_search.errors import DebaterError, InvalidError, UnavailableError
from debater_search.indexing import build
from debater_search.search import SearchEngine
from debater_search.store.folders import open_manifest
from tests.fakes import tiny_corpus

TEXTS = [*PROBES, "a short one"]


@pytest.fixture(scope="module")
def models(
    tiny_model: Callable[..., Path], minicpm_adapter: Path, minicpm_base: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Encoder]:
    """An adapter that deliberates, an encoder that deliberates beside its mean, and plain models of both kinds."""
    residual = tmp_path_factory.mktemp("models") / "residual"
    Encoder.load(tiny_model("bert"), thinking_steps=3, max_length=40).save(residual)
    settings = json.loads((residual / "debater.json").read_text())
    settings |= {"query_pooling": "body", "document_pooling": "residual", "thinking_weight": 0.5, "query_length": 20}
    (residual / "debater.json").write_text(json.dumps(settings))
    return {
        "adapter": Encoder.load(minicpm_adapter, base_model=minicpm_base, dtype="float32", device="cpu"),
        "residual": Encoder.load(residual, device="cpu"),
        "mean": Encoder.load(tiny_model("bert"), device="cpu"),
        "last": Encoder.load(tiny_model("qwen2"), device="cpu"),
    }


KINDS = pytest.mark.parametrize("kind", ["adapter", "residual", "mean", "last"])


@KINDS
def test_a_hugging_face_folder_has_the_models_vectors_and_its_fingerprint(
    models: dict[str, Encoder], tmp_path: Path, kind: str
) -> None:
    model = models[kind]
    again = Encoder.load(export(model, tmp_path / "out"), device="cpu")
    assert again.fingerprint == model.fingerprint
    assert again.former_fingerprints == model.former_fingerprints
    np.testing.assert_array_equal(again.deliberate(TEXTS), model.deliberate(TEXTS))
    np.testing.assert_array_equal(again.encode_queries(TEXTS), model.encode_queries(TEXTS))
    from transformers import AutoModel, AutoTokenizer

    plain, report = AutoModel.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not [name for name in report["missing_keys"] if "pooler" not in name]
    assert AutoTokenizer.from_pretrained(tmp_path / "out")("a text")["input_ids"]
    assert plain.config.hidden_size == model.dim


@KINDS
def test_sentence_transformers_gives_the_same_vectors_also_saved_and_loaded_again(
    models: dict[str, Encoder], tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sentence_transformers import SentenceTransformer

    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    model = models[kind]
    export(model, tmp_path / "out", "sentence-transformers")
    own = (tmp_path / "out" / "modeling_debater.py").is_file()
    assert own == (kind != "mean")
    if own:
        with pytest.raises(ValueError, match="trust_remote_code"):
            SentenceTransformer(str(tmp_path / "out"), device="cpu")
    loaded = SentenceTransformer(str(tmp_path / "out"), device="cpu", trust_remote_code=own)
    loaded.save_pretrained(str(tmp_path / "again"))
    again = SentenceTransformer(str(tmp_path / "again"), device="cpu", trust_remote_code=own)
    queries, documents = model.encode_queries(TEXTS), model.encode_documents(TEXTS)
    for one in (loaded, again):
        for found in (one.encode_query(TEXTS), one.encode(TEXTS, prompt_name="query"), one.encode(TEXTS, task="query")):
            np.testing.assert_allclose(found, queries, atol=1e-5)
        for found in (one.encode_document(TEXTS), one.encode(TEXTS), one.encode(TEXTS, batch_size=1)):
            np.testing.assert_allclose(found, documents, atol=1e-5)
    assert Encoder.load(tmp_path / "out").fingerprint == model.fingerprint
    if own:
        with pytest.raises(ValueError, match="is unknown"):
            loaded.encode(TEXTS, prompt="passage: ")
        instructed = loaded.encode(TEXTS, task="query", prompt="Find it: ")
        np.testing.assert_allclose(instructed, model.encode_queries(TEXTS, instruction="Find it:"), atol=1e-5)


@pytest.mark.parametrize("kind", ["residual", pytest.param("adapter", marks=pytest.mark.slow)])
def test_onnx_files_give_the_same_vectors_for_any_number_and_length_of_texts(
    models: dict[str, Encoder], tmp_path: Path, kind: str
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    from tokenizers import Tokenizer

    model = models[kind]
    folder = export(model, tmp_path / "out", "onnx")
    template = json.loads((folder / "template.json").read_text())
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    for name, expected in (("query", model.encode_queries(TEXTS)), ("document", model.encode_documents(TEXTS))):
        session = onnxruntime.InferenceSession(folder / f"{name}.onnx")
        for at in ([0], [3, 1], list(range(len(TEXTS)))):
            rows = [token_ids(template[name], tokenizer, TEXTS[n]) for n in at]
            longest = max(map(len, rows))
            ids = np.array([row + [template["pad_id"]] * (longest - len(row)) for row in rows])
            mask = np.array([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
            outputs = session.run(None, {"input_ids": ids, "attention_mask": mask})
            np.testing.assert_allclose(outputs[0], expected[at], atol=1e-5)
    np.testing.assert_allclose(outputs[1], model.deliberate(TEXTS), atol=1e-5)


def token_ids(template: dict[str, Any], tokenizer: Any, text: str) -> list[int]:
    """As `template.json` describes it."""
    body = template["lead"] + (text.strip() if template.get("strip") else text)
    encoding = tokenizer.encode(body + template["tail"], add_special_tokens=False)
    tail = sum(start >= len(body) for start, _ in encoding.offsets) if template["tail"] else 0
    ids, end = encoding.ids[: len(encoding.ids) - tail], encoding.ids[len(encoding.ids) - tail :]
    room = template["max_length"] - len(template["prefix_ids"]) - len(template["suffix_ids"]) - tail
    return [*template["prefix_ids"], *ids[:room], *end, *template["suffix_ids"]]


@pytest.mark.slow
def test_onnx_in_8_bits_is_smaller_and_close(models: dict[str, Encoder], tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    whole = export("minilm", tmp_path / "whole", "onnx")
    small = export("minilm", tmp_path / "small", "onnx", int8=True)
    assert (small / "document.onnx").stat().st_size < 0.4 * (whole / "document.onnx").stat().st_size


def test_an_index_accepts_the_exported_folder_of_its_model_until_a_file_changes(
    models: dict[str, Encoder], tmp_path: Path, minicpm_adapter: Path, minicpm_base: Path
) -> None:
    four = Encoder.load(minicpm_adapter, base_model=minicpm_base, dtype="float32", device="cpu", thinking_steps=4)
    build(tiny_corpus(), four, tmp_path / "index")
    folder = export(models["adapter"], tmp_path / "out")
    info = open_manifest(tmp_path / "index").encoder
    assert info is not None
    info = info.model_copy(update={"recipe": {k: v for k, v in info.recipe.items() if k != "base_model"}})
    encoder = load_again(info, tmp_path / "index", model=str(folder), device="cpu")
    assert encoder.thinking_steps == 4  # as the index has it
    assert SearchEngine.open(tmp_path / "index", encoder=encoder).search("unique7", 1)
    weights = load_file(folder / "model.safetensors")
    name = next(iter(weights))
    save_file({**weights, name: weights[name] + 1}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(InvalidError, match="was made by"):
        load_again(info, tmp_path / "index", model=str(folder), device="cpu")


def test_an_export_can_be_exported_again_and_the_number_type_is_kept(
    models: dict[str, Encoder], tiny_model: Callable[..., Path], tmp_path: Path
) -> None:
    first = export(models["residual"], tmp_path / "first")
    assert Encoder.load(export(first, tmp_path / "second")).fingerprint == models["residual"].fingerprint
    from transformers import AutoModel

    AutoModel.from_pretrained(tiny_model("qwen2"), dtype=torch.bfloat16).save_pretrained(tmp_path / "half")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(tiny_model("qwen2") / name, tmp_path / "half" / name)
    folder = export(tmp_path / "half", tmp_path / "half-out", "sentence-transformers")
    assert {tensor.dtype for tensor in load_file(folder / "model.safetensors").values()} == {torch.bfloat16}
    assert Encoder.load(folder).fingerprint == Encoder.load(tmp_path / "half").fingerprint


def test_only_an_export_is_replaced_and_only_by_force(models: dict[str, Encoder], tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("…")
    for force in (False, True):
        with pytest.raises(InvalidError, match="holds something else"):
            export(models["mean"], tmp_path / "mine", force=force)
    (tmp_path / "empty").mkdir()
    folder = export(models["mean"], tmp_path / "empty")
    with pytest.raises(InvalidError, match="replace it with `force`"):
        export(models["mean"], folder)
    (folder / "left.txt").write_text("from before")
    export(models["mean"], folder, force=True)
    assert not (folder / "left.txt").exists()
    with pytest.raises(InvalidError, match="no format called"):
        export(models["mean"], tmp_path / "other", "gguf")  # type: ignore[arg-type]
    with pytest.raises(InvalidError, match="no 8-bit weights"):
        export(models["mean"], tmp_path / "other", "sentence-transformers", int8=True)


def test_what_no_format_can_say_is_refused_and_nothing_is_left(
    tiny_model: Callable[..., Path], sentence_transformer: Callable[..., Path], tmp_path: Path
) -> None:
    folder = sentence_transformer(modules={"3_Dense": "Dense"})
    (folder / "3_Dense").mkdir()
    (folder / "3_Dense" / "config.json").write_text(json.dumps({"in_features": 32, "out_features": 16}))
    layer = {"linear.weight": torch.ones(16, 32), "linear.bias": torch.ones(16)}
    save_file(layer, folder / "3_Dense" / "model.safetensors")
    unpacked = tmp_path / "unpacked"
    shutil.copytree(tiny_model("llama"), unpacked)
    (unpacked / "unpacked.json").write_text("{}")
    refused: list[tuple[Encoder | Path, str]] = [
        (folder, "dense layers"),
        (unpacked, "GGUF"),
        (Encoder.load(tiny_model("bert"), dim=8), "keeps 8 of 32"),
    ]
    formats: list[Format] = ["hf", "sentence-transformers"]
    for model, why in refused:
        for format in formats:
            with pytest.raises(InvalidError, match=why):
                export(model, tmp_path / "out", format)
    assert not (tmp_path / "out").exists()


def test_a_missing_library_is_named(
    models: dict[str, Encoder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str, *_: Any) -> Any:
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr("debater_search.extras.import_module", missing)
    with pytest.raises(UnavailableError, match=r"onnx is not installed.*debater-search\[onnx\]"):
        export(models["mean"], tmp_path / "out", "onnx")


class FakeHub:
    """What `push` uses of `HfApi`."""

    def __init__(self, *, public: bool = False, error: Exception | None = None) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.private, self._error = not public, error

    def create_repo(self, repo_id: str, **options: Any) -> None:
        self.calls.append((repo_id, options))
        if self._error is not None:
            raise self._error

    def repo_info(self, repo_id: str) -> "FakeHub":
        return self

    def upload_folder(self, **options: Any) -> None:
        self.calls.append((options.pop("repo_id"), options))


def test_push_uploads_that_folder_private_unless_asked(tmp_path: Path) -> None:
    hub = FakeHub()
    assert push(tmp_path, "me/mine", client=hub) == "https://huggingface.co/me/mine"
    (_, created), (name, uploaded) = hub.calls
    assert created["private"] is True
    assert (name, uploaded["folder_path"]) == ("me/mine", str(tmp_path))
    push(tmp_path, "me/mine", public=True, client=(hub := FakeHub(public=True)))
    assert hub.calls[0][1]["private"] is False
    with pytest.raises(InvalidError, match="exists and is public"):
        push(tmp_path, "me/mine", client=FakeHub(public=True))
    for name in ("mine", "a/b/c", "../x", "me/mine\n"):
        with pytest.raises(InvalidError, match="not the name of a repository"):
            push(tmp_path, name, client=FakeHub())


def test_no_error_of_the_hub_shows_a_token(tmp_path: Path) -> None:
    hub = FakeHub(error=RuntimeError("401 for Authorization: Bearer hf_secret"))
    with pytest.raises(UnavailableError) as raised:
        push(tmp_path, "me/mine", client=hub)
    assert "hf_secret" not in str(raised.value)
    assert raised.value.__suppress_context__


def test_the_card_says_how_to_load_it_and_what_it_scored(models: dict[str, Encoder], tmp_path: Path) -> None:
    folder = export(models["residual"], tmp_path / "mine", "sentence-transformers")
    settings = json.loads((folder / "debater.json").read_text())
    settings["provenance"] = {"metrics": {"training": {"loss": 0.1}, "cranfield": {"ndcg@10": 0.41}}}
    (folder / "debater.json").write_text(json.dumps(settings))
    write_card(folder, "hf", name="mine")
    assert "library_name: transformers\n" in (folder / "README.md").read_text()
    write_card(folder, "sentence-transformers", name="mine")
    assert "library_name: sentence-transformers\n" in (folder / "README.md").read_text()
    card = (folder / "README.md").read_text()
    assert "trust_remote_code=True" in card
    assert "| cranfield | ndcg@10 | 0.4100 |" in card
    assert "loss" not in card
    assert str(tmp_path) not in card


@KINDS
def test_the_code_of_the_card_gives_the_models_vectors_by_transformers_alone(
    models: dict[str, Encoder], tmp_path: Path, kind: str
) -> None:
    folder, model = export(models[kind], tmp_path / "out"), models[kind]
    _, code = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(code.replace("FOLDER OR OWNER/NAME", str(folder)), names)
    texts = [text for text in PROBES[:2] + PROBES[-2:] if text]
    for function, encode in (("query", model.encode_queries), ("document", model.encode_documents)):
        found = torch.stack([names[function](text) for text in texts]).numpy()
        np.testing.assert_allclose(found, encode(texts), atol=1e-5)
    long = PROBES[5]
    np.testing.assert_allclose(names["query"](long).numpy(), model.encode_queries([long])[0], atol=1e-5)
    if not model.spec.template.prompt:  # words behind the text, before which it would have to be cut
        np.testing.assert_allclose(names["document"](long).numpy(), model.encode_documents([long])[0], atol=1e-5)


def test_the_card_shows_no_code_of_transformers_that_would_give_other_vectors(
    models: dict[str, Encoder], tiny_model: Callable[..., Path], tmp_path: Path
) -> None:
    both_ways = Encoder.load(tiny_model("qwen2"), device="cpu", bidirectional=True)
    for name, model, int8 in (("int8", models["mean"], True), ("both", both_ways, False)):
        card = (export(model, tmp_path / name, int8=int8) / "README.md").read_text()
        assert "AutoModel" not in card
        assert "library_name: debater\n" in card


def test_a_wrong_model_is_an_error_of_loading(tmp_path: Path) -> None:
    with pytest.raises(DebaterError, match="no model 'nothing'"):
        export("nothing", tmp_path / "out")


@pytest.mark.parametrize("format", ["sentence-transformers", "onnx"])
def test_what_cannot_be_read_in_one_pass_is_refused(
    tiny_model: Callable[..., Path], tmp_path: Path, format: Format
) -> None:
    model = Encoder.load(tiny_model("qwen2"), device="cpu", bidirectional=True)
    with pytest.raises(InvalidError, match="in both directions, which this format cannot say") as caught:
        export(model, tmp_path / "out", format)
    assert "hf" in caught.value.hint
    assert not (tmp_path / "out").exists()
