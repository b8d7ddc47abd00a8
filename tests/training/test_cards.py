"""The model card of each checkpoint; a README.md of other hands stays."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from debater_search.encoder import Encoder
from debater_search.encoder.card import write_card
from debater_search.errors import DebaterError
from debater_search.training import train
from debater_search.training.settings import TrainingSettings


def test_each_checkpoint_says_what_it_is_and_how_it_scored(
    config: Callable[..., TrainingSettings], development: Path, tmp_path: Path
) -> None:
    folder = train(config(eval={"task": str(development), "every": 2}, max_steps=4))
    for place, steps in (("", 4), ("best", None), ("checkpoint-2", 2), ("checkpoint-4", 4)):
        card = (folder / place / "README.md").read_text(encoding="utf-8")
        assert "library_name: peft\n" in card
        assert "read out after 3 thinking tokens" in card
        assert "| task | ndcg@10 | " in card
        assert f"trained for {steps} steps" in card or steps is None
        assert str(tmp_path) not in card


def test_a_checkpoint_warns_of_sentence_transformers_which_reads_it_in_another_way(
    config: Callable[..., TrainingSettings],
) -> None:
    from sentence_transformers import SentenceTransformer

    folder = train(config(max_steps=1))
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "Not for sentence-transformers as it is" in card
    assert "debater export FOLDER --format sentence-transformers" in card
    theirs = SentenceTransformer(str(folder), device="cpu")
    theirs.tokenizer.pad_token = "[PAD]"  # the tiny model's declares none
    ours = Encoder.load(folder, device="cpu").encode_documents(["lift of a wing"])
    assert not np.allclose(theirs.encode(["lift of a wing"], normalize_embeddings=True), ours, atol=0.05)


def test_what_somebody_wrote_of_a_run_is_kept(config: Callable[..., TrainingSettings]) -> None:
    folder = train(config(max_steps=2))
    (folder / "debater.json").unlink()  # as if killed at its end
    (folder / "README.md").write_text("my words")
    train(config(max_steps=2), resume=True)
    assert (folder / "README.md").read_text() == "my words"
    with pytest.raises(DebaterError, match="not a training run's"):
        train(config(max_steps=2), force=True)
    assert (folder / "README.md").read_text() == "my words"


def test_saving_keeps_what_somebody_wrote(tiny_model: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("my words")
    encoder = Encoder.load(tiny_model("bert"), device="cpu")
    encoder.save(tmp_path)
    assert (tmp_path / "README.md").read_text() == "my words"
    (tmp_path / "README.md").unlink()
    for _ in range(2):
        encoder.save(tmp_path)
        assert "library_name: transformers\n" in (tmp_path / "README.md").read_text()


def test_a_card_has_the_data_and_the_settings_of_the_training(
    config: Callable[..., TrainingSettings], tmp_path: Path
) -> None:
    card = (train(config(max_steps=1)) / "README.md").read_text(encoding="utf-8")
    for row in (
        "| data | rows, 12 rows |",
        "| loss | contrast: max, scale: 30.0, distill: true |",
        "| lora | r: 4, alpha: 8, dropout: 0.1 |",
        "| batch_size | 6 |",
        "| learning_rate | 0.01 |",
        "| max_length | query: 32, document: 60 |",
        "| precision | auto |",
    ):
        assert row in card.splitlines()
    assert "base_model:" not in card  # a folder on this disk
    assert "datasets:" not in card
    assert str(tmp_path) not in card


def test_a_card_takes_over_what_the_card_of_a_base_on_disk_says(tmp_path: Path) -> None:
    base, folder = tmp_path / "bge-tuned", tmp_path / "trained"
    base.mkdir()
    folder.mkdir()
    (base / "README.md").write_text(
        "---\nlicense: mit\nbase_model: BAAI/bge-small-en-v1.5\nlanguage: en\ntags: [x]\n---\n\n# Mine\n"
    )
    template = {"query_prompt": "Represent this:\nquery: "}
    about = {"base_model": str(base), "template": template, "provenance": {"config": {"seed": 1}}}
    (folder / "debater.json").write_text(json.dumps(about))
    write_card(folder, "checkpoint")
    head, _, table = (folder / "README.md").read_text().partition("\n---\n")
    assert head.splitlines()[-2:] == ["base_model: BAAI/bge-small-en-v1.5", "language: en"]
    assert "| base | bge-tuned (licence: mit) |" in table
    assert "| before a query | Represent this: query: |" in table
    for odd in ("no head", "---\n- a\n---", "---\n: [\n---", "---\nlanguage: [en, de]\n---"):
        (base / "README.md").write_text(odd)
        write_card(folder, "checkpoint")
        assert "base_model:" not in (folder / "README.md").read_text()
        assert "| base | bge-tuned |" in (folder / "README.md").read_text()


def test_the_head_of_a_card_names_the_base_model_and_data_sets_of_a_hub(tmp_path: Path) -> None:
    made = {"config": {"lora": None}, "data": {"me/pairs:en": "", "/home/me/a.jsonl": ""}, "hub_data": ["me/pairs:en"]}
    about = {"base_model": "BAAI/bge-small-en-v1.5", "provenance": {**made, "rows": {"me/pairs:en": 1200}}}
    (tmp_path / "debater.json").write_text(json.dumps(about))
    write_card(tmp_path, "checkpoint")
    lines = (tmp_path / "README.md").read_text(encoding="utf-8").splitlines()
    head = lines[: lines.index("---", 1)]
    assert "base_model: BAAI/bge-small-en-v1.5" in head
    assert "datasets: [me/pairs]" in head
    assert {"| data | me/pairs:en, 1,200 rows |", "| data | a.jsonl |", "| lora | none |"} <= {*lines}
    assert "/home/me" not in "".join(lines)
