import time
from inspect import signature
from pathlib import Path
from typing import Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, model_validator

from debater_search.config import beside, load_settings, read_mapping
from debater_search.errors import DebaterError
from debater_search.training import TrainingSettings
from docs.reference.settings import schema_table


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Loss(Part):
    scale: float = Field(30.0, description="1 / temperature")
    contrast: Literal["max", "last"] = "max"


class Data(Part):
    path: str
    instruction: str | list[str] = ""
    weight: float = Field(1.0, gt=0)


class Train(Part):
    model: str
    data: list[Data] = []
    loss: Loss = Field(default_factory=Loss)
    lora: Loss | None = None
    learning_rate: float = Field(2e-4, description="highest rate | after the warm-up")
    steps: dict[str, int] = {}
    cache: bool = False

    @model_validator(mode="after")
    def check(self) -> "Train":
        if self.cache and not self.data:
            raise ValueError("a cache needs data")
        return self


CONFIG = """\
model: minilm
learning_rate: 3e-4
data:
  - path: a.jsonl
    instruction: [one, two]
  - path: b.jsonl
    weight: 2
loss:
  scale: 20
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "train.yaml"
    path.write_text(CONFIG, encoding="utf-8")
    return path


def test_file_lies_over_defaults_and_overrides_over_file(config: Path) -> None:
    settings = load_settings(
        Train, config, ["data.0.path=x", "loss.contrast=last", "learning_rate=2.5E-4", "lora.scale=1", "steps.a=3"]
    )
    assert settings.data[0] == Data(path="x", instruction=["one", "two"])
    assert settings.loss == Loss(scale=20, contrast="last")
    assert settings.learning_rate == 2.5e-4
    assert settings.lora == Loss(scale=1)
    assert settings.steps == {"a": 3}


@pytest.mark.parametrize(
    ("text", "rate"), [("2e-4", 2e-4), ("2.0e-4", 2e-4), ("1E3", 1000.0), ("+2e+1", 20.0), ("7", 7.0)]
)
def test_numbers_are_numbers(config: Path, text: str, rate: float) -> None:
    config.write_text(f"model: m\nlearning_rate: {text}\n", encoding="utf-8")
    assert load_settings(Train, config).learning_rate == rate
    assert read_mapping(config) == {"model": "m", "learning_rate": rate}


def test_words_with_digits_stay_words(config: Path) -> None:
    assert load_settings(Train, config, ["model=2e-model"]).model == "2e-model"


def test_json_with_tabs_is_read(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text('{\n\t"model": "m",\t"learning_rate": 2e-5\n}', encoding="utf-8")
    assert load_settings(Train, path).learning_rate == 2e-5


def test_without_a_file_overrides_are_enough() -> None:
    assert load_settings(Train, None, ["model=m"]).model == "m"


@pytest.mark.parametrize(
    ("old", "new", "message", "hint"),
    [
        ("learning_rate: 3e-4", "lerning_rate: 3", "line 2: there is no setting lerning_rate.", "learning_rate?"),
        ("  scale: 20", "  scal: 20", "line 9: there is no setting loss.scal.", "Did you mean loss.scale?"),
        ("    weight: 2", "    wieght: 2", "line 7: there is no setting data.1.wieght.", "data.1.weight?"),
        ("    weight: 2", "    qqq: 2", "line 7: there is no setting data.1.qqq.", "path, instruction, weight"),
        ("3e-4", "fast", "line 2: learning_rate is 'fast', but it must be a number.", "highest rate"),
        ("    weight: 2", "    weight: -2", "line 7: data.1.weight is -2, but it must be above 0.", "default is 1.0."),
        ("[one, two]", "[one, [2]]", 'line 5: data.0.instruction is ["one", [2]], but it must be text', ""),
        ("  scale: 20", "  contrast: min", "line 9: loss.contrast is 'min', but it must be 'max' or 'last'.", ""),
        ("model: minilm", "cache: no", "the setting model is missing", "Add it"),
        ("  scale: 20", "  contrast: lst", "line 9: loss.contrast is 'lst'", "Did you mean last?"),
        ("model: minilm", "scale: 3", "line 1: there is no setting scale.", "Did you mean loss.scale or lora.scale?"),
        ("model: minilm", "train:\n  model: m", "line 1: there is no setting train.", "top level: model."),
        ("  scale: 20", "  scale: null", "line 9: loss.scale is null, but it must be a number.", ""),
        ("model: minilm", "model: m\nlora: 8", "line 2: lora is 8, but it must be a mapping", "scale, contrast"),
        ("  - path: a.jsonl", "  - a.jsonl\n  - path: a.jsonl", "line 4: data.0 is 'a.jsonl', but", "{path: a.jsonl}"),
        ("model: minilm", "model: m\nmodel: n", "line 2: model is there twice.", "Leave one"),
        ("model: minilm", "modl: minilm", "line 1: there is no setting modl.", "Did you mean model?"),
        ("  - path: b.jsonl\n    weight", "  - weight", "line 6: the setting data.1.path is missing", ""),
        ("model: minilm", "model: m\nsteps: {a: b}", "line 2: steps.a is 'b', but it must be a whole number.", ""),
    ],
)
def test_bad_setting_names_key_line_and_nearest(config: Path, old: str, new: str, message: str, hint: str) -> None:
    config.write_text(CONFIG.replace(old, new), encoding="utf-8")
    with pytest.raises(DebaterError) as error:
        load_settings(Train, config)
    assert message in error.value.message
    assert "train.yaml" in error.value.message
    assert hint in error.value.hint
    assert error.value.hint


def test_a_rule_over_several_settings_is_told(config: Path) -> None:
    with pytest.raises(DebaterError, match="a cache needs data"):
        load_settings(Train, config, ["cache=true", "data=[]"])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("loss", "'loss' is not key=value"),
        ("=3", "'=3' is not key=value"),
        ("loss..scale=3", "is not key=value"),
        ("loss.scale=[", "The value of 'loss.scale=[' is not YAML"),
        ("loss.scal=3", "Override 'loss.scal=3': there is no setting loss.scal"),
        ("data.7.path=x", "the list has 2 items, and 7 is none of them"),
        ("data.first.path=x", "the list has 2 items, and 'first' is none of them"),
        ("data=[x.jsonl]", "Override 'data=[x.jsonl]': data.0 is 'x.jsonl'"),
        ("model.name=x", "the value before .name is not a mapping"),
        ("data.0.weight=heavy", "Override 'data.0.weight=heavy': data.0.weight is 'heavy'"),
        ("loss=3", "Override 'loss=3': loss is 3"),
    ],
)
def test_bad_override_is_named(config: Path, override: str, message: str) -> None:
    with pytest.raises(DebaterError) as error:
        load_settings(Train, config, [override])
    assert message in error.value.message
    assert error.value.hint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1\nb: 2", "line 2: this is not YAML"),
        ("- a", "is not a mapping"),
        ("model: !!python/object:os.system {}", "line 1: this is not YAML"),
        ("model: \x00", "this is not YAML"),
        ("a: &x [*x]", "there is no setting a"),
        ("[" * 5000, "this is not YAML"),
        ("", "the setting model is missing"),
    ],
)
def test_bad_file_is_told(config: Path, text: str, message: str) -> None:
    config.write_text(text, encoding="utf-8")
    with pytest.raises(DebaterError) as error:
        load_settings(Train, config)
    assert message in error.value.message


def test_aliases_within_aliases_cost_nothing(config: Path) -> None:
    levels = "".join(f"k{i}: &k{i} [{', '.join([f'*k{i - 1}'] * 9)}]\n" for i in range(1, 30))
    config.write_text(f"k0: &k0 [lol]\n{levels}", encoding="utf-8")
    with pytest.raises(DebaterError, match="there is no setting k0"):
        load_settings(Train, config)


TAGS = [
    "a: !!bool x", "a: !!int x", "a: !!int ''", "a: !!float x", "a: !!timestamp x", "a: !!binary x", "a: !!set x",
    "a: !!python/object:os.system x", "? [a]\n: b", "? {a: b}\n: c", "<<: x", f"a: {'[' * 20_000}", f"a: {'1' * 6_000}",
    "a: 2001-99-99",
]  # fmt: skip


@pytest.mark.parametrize("text", TAGS, ids=range(len(TAGS)))
def test_whatever_yaml_raises_is_an_error_in_words(config: Path, text: str) -> None:
    config.write_text(text, encoding="utf-8")
    with pytest.raises(DebaterError, match=r"train\.yaml.*: this is not YAML"):
        load_settings(Train, config)
    if "\n" not in text:
        with pytest.raises(DebaterError, match=r"The value of .* is not YAML"):
            load_settings(
                Train, None, [f"model={text.removeprefix('a: ')}" if text.startswith("a: ") else "model=<<: x"]
            )


def test_numbers_of_thousands_of_digits_are_refused_in_words(config: Path) -> None:
    config.write_text(f"model: m\nlearning_rate: 0x{'f' * 5000}\n", encoding="utf-8")
    with pytest.raises(DebaterError, match="learning_rate is a number of thousands of digits"):
        load_settings(Train, config)
    config.write_text(CONFIG, encoding="utf-8")
    with pytest.raises(DebaterError, match=r"the list has 2 items, and '9{56}… is none"):
        load_settings(Train, config, [f"data.{'9' * 5000}.path=x"])


def test_missing_file_names_the_nearest(config: Path) -> None:
    with pytest.raises(DebaterError) as error:
        load_settings(Train, config.with_name("trian.yaml"))
    assert "train.yaml" in error.value.hint


def test_paths_lie_beside_the_config(tmp_path: Path) -> None:
    assert beside(tmp_path / "c.yaml", "a/b") == tmp_path / "a" / "b"
    assert beside(tmp_path / "c.yaml", "/a") == Path("/a")
    assert beside(None, "a") == Path("a")


def test_reference_lists_every_setting() -> None:
    table = schema_table(Train)
    assert "| `model` | text | required |  |" in table
    assert "| `loss.scale` | number | `30.0` | 1 / temperature |" in table
    assert "| `loss.contrast` | `max` or `last` | `max` |  |" in table
    assert '| `data.N.instruction` | text or list of text | `""` |  |' in table
    assert "highest rate \\| after" in table
    assert "| `lora` | mapping or null | `null` |  |" in table


@pytest.mark.parametrize("text", ["a: " + "[" * 100_000, "a: " + "{a: " * 100_000, "[" * 60 + "]" * 60, "- " * 100_000])
def test_deep_nesting_is_refused_before_it_takes_minutes(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.yaml").write_text(text, encoding="utf-8")
    start = time.process_time()
    with pytest.raises(DebaterError, match="this is not YAML"):
        load_settings(Train, tmp_path / "c.yaml")
    with pytest.raises(DebaterError, match="is not YAML"):
        load_settings(Train, None, [f"loss={text}"])
    assert time.process_time() - start < 10  # of the processor, not of the clock: a busy machine is no fault


def test_the_usual_word_for_a_setting_is_understood_and_few_names_are_listed(tmp_path: Path) -> None:
    from debater_search.training import load_config

    (tmp_path / "c.yaml").write_text("model: m\noutput: o\ndata: [{path: a}]\n", encoding="utf-8")
    for given, meant in (
        ("lr=1", "learning_rate"),
        ("num_epochs=3", "epochs"),
        ("BF16=1", "precision"),
        ("lora_r=8", "lora.r"),
    ):
        with pytest.raises(DebaterError, match=rf"Did you mean {meant}\?"):
            load_config(tmp_path / "c.yaml", [given])
    with pytest.raises(DebaterError, match=r"Known here: (\w+, ){8}and \d+ more\."):
        load_config(tmp_path / "c.yaml", ["foo=1"])


def test_every_name_that_a_synonym_stands_for_is_a_setting_or_an_option() -> None:
    from debater_search.cli.train import train
    from debater_search.training import TrainingSettings
    from debater_search.training.synonyms import SYNONYMS

    for theirs, ours in SYNONYMS.items():
        assert theirs not in TrainingSettings.model_fields
        if ours.startswith("--"):
            assert ours.removeprefix("--") in signature(train).parameters
        else:
            assert f"| `{ours}` |" in schema_table(TrainingSettings), ours


@pytest.mark.parametrize(("given", "default"), [("learning_rate=-1", "0.0002"), ("lora.r=0", "16")])
def test_a_number_beyond_its_limits_is_answered_with_the_default(tmp_path: Path, given: str, default: str) -> None:
    from debater_search.training import load_config

    (tmp_path / "c.yaml").write_text("model: m\noutput: o\ndata: [{path: a}]\n", encoding="utf-8")
    with pytest.raises(DebaterError, match="but it must be ") as told:
        load_config(tmp_path / "c.yaml", [given])
    assert told.value.hint.endswith(f"The default is {default}.")


def test_all_settings_that_are_wrong_are_named(tmp_path: Path) -> None:
    wrong = ["learningrate: 3", "batch_size: -1", "loss: {contrast: foo, scale: -2}", "lora: {r: -1}"]
    path = tmp_path / "c.yaml"
    path.write_text("\n".join(["model: m", "data: [{path: x}]", *wrong]))
    with pytest.raises(DebaterError, match=r"line 3: there is no setting learningrate\.") as error:
        load_settings(TrainingSettings, path)
    assert error.value.hint == (
        "Did you mean learning_rate? Also wrong: loss.scale, loss.contrast, lora.r, batch_size."
    )
    path.write_text("\n".join(["model: m", "dat: [{path: x}]", "output: y"]))
    with pytest.raises(DebaterError, match="no setting dat") as error:
        load_settings(TrainingSettings, path)
    assert error.value.hint == "Did you mean data?"
