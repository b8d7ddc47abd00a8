"""What a training config may say. Names are those of the config file; the reference page is generated from here."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationInfo,
    field_validator,
    model_validator,
)

from debater_search.config import beside, load_settings
from debater_search.data.training_sources import is_hub_name
from debater_search.training.presets import PRESETS, Preset, merged
from debater_search.training.released import is_released_config, settings_of
from debater_search.training.synonyms import SYNONYMS

_LARGEST = 2**53
"""Whole numbers beyond it are no counts, and some libraries cannot hold them."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, ser_json_inf_nan="constants")

    @field_validator("*", mode="after")
    @classmethod
    def _no_huge_numbers(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, int) and abs(value) > _LARGEST and info.field_name != "seed":
            raise ValueError(f"it should be at most {_LARGEST}")
        return value


class DataSet(_Section):
    """One set of training examples."""

    path: str = Field(
        description="JSON lines (also .gz, .zst), Parquet, or a folder in BEIR layout, relative to the config file; "
        "or a data set of the hub, as owner/name."
    )
    instruction: str | list[str] = Field(
        "", description="Words before every query of this set; a list alternates over the rows."
    )
    weight: PositiveFloat = Field(1.0, description="Share of batches relative to the set's size.")
    teacher_lexical: float | None = Field(
        None, ge=0, description="loss.teacher_lexical for this set's queries; null: the loss's."
    )


class Loss(_Section):
    """The objective: contrast and self-distillation over thinking steps, and what else composes with them."""

    scale: PositiveFloat = Field(30.0, description="Inverse temperature of the cosines.")
    contrast: Literal["max", "last", "mean"] = Field("max", description="Which thinking step's score is contrasted.")
    distill: bool = Field(True, description="Let the best step teach the last one.")
    distill_weight: PositiveFloat = Field(1.0, description="Of self-distillation, beside a contrast of weight 1.")
    combine: Literal["mean", "sum"] = Field(
        "mean", description="How the weighted terms make one: their mean (released code) or their sum (the paper)."
    )
    mask_duplicates: bool = Field(
        True, description="Leave out of a query's negatives what is a positive of it elsewhere in the batch."
    )
    mask_margin: float | None = Field(
        None,
        description="Leave out negatives whose cosine is above the positive's plus this (-0.05: also just below it).",
    )
    teacher: Literal["kl", "margin_mse", "base"] | None = Field(
        None,
        description="Distill scores into the last step: kl and margin_mse those that the data gives to a query's own "
        "positive and negatives, base the model's before training (and BM25's), of all texts in the batch.",
    )
    teacher_weight: PositiveFloat = Field(1.0, description="Of that distillation, beside a contrast of weight 1.")
    teacher_scale: PositiveFloat | None = Field(
        None,
        description="Multiplies the teacher's scores; null: 1 for the data's (logits), loss.scale for base (cosines).",
    )
    teacher_lexical: float = Field(
        0.0, ge=0, description="Weight of BM25 (from 0 to 1) beside the base model's cosine, where the teacher is base."
    )
    matryoshka: list[PositiveInt] = Field([], description="Shorter dimensions that are trained along with the whole.")

    def arguments(self) -> dict[str, Any]:
        """What `DeliberationLoss` takes; the rest is the teacher's."""
        return self.model_dump(exclude={"teacher_lexical"})


class Lora(_Section):
    """Low-rank adaptation of attention and MLP projections."""

    r: PositiveInt = Field(16, le=100_000, description="Rank.")
    alpha: PositiveInt = Field(32, description="Scaling: updates are multiplied by alpha / r.")
    last_layers: PositiveInt | None = Field(
        None,
        description="Adapt so many of the last layers only, and leave new thinking tokens' embeddings as they start; "
        "null: all layers.",
    )
    dropout: float = Field(0.05, ge=0, lt=1, description="The only dropout; the backbone's own is set to 0.")


class MaxLength(_Section):
    """Longest texts in tokens; what stands around the body is always whole."""

    query: PositiveInt = Field(64, description="Query, instruction and special tokens included.")
    document: PositiveInt = Field(512, description="Document, prompt and thinking tokens included.")
    search: PositiveInt | None = Field(
        None, description="Of documents once the model is trained, not below document; null: as in training."
    )

    @model_validator(mode="after")
    def _no_shorter_in_search(self) -> Self:
        if self.search is not None and self.search < self.document:
            raise ValueError(f"search ({self.search}) is below document ({self.document})")
        return self


class Evaluation(_Section):
    """Measure nDCG@10 while training and keep the best checkpoint in OUTPUT/best."""

    task: str = Field(description="A folder in BEIR layout, relative to the config file.")
    every: PositiveInt = Field(100, description="Steps between two measurements.")
    split: str = Field("test", description="Which judgements: qrels/SPLIT.tsv.")
    sample: PositiveInt | None = Field(
        None, description="Search among the judged documents and this many others; null: the whole corpus."
    )
    patience: PositiveInt | None = Field(None, description="Stop after this many measurements without a new best.")


class WarmStart(_Section):
    """A first phase without labels: thinking tokens learn the base model's own embedding of the same text."""

    steps: PositiveInt = Field(description="Optimizer steps, before and not counted in max_steps.")
    batch_size: PositiveInt = Field(64, description="Texts per step, over all processes.")
    learning_rate: PositiveFloat = Field(1e-3, description="Peak rate; decays linearly to zero.")
    length: PositiveInt = Field(96, description="Longest text in tokens.")
    views: Literal["all", "last"] = Field("last", description="Which thinking steps are taught.")


class TrainingSettings(_Section):
    """A training run."""

    synonyms: ClassVar[Mapping[str, str]] = SYNONYMS

    preset: Preset = Field(
        "default", description="Settings to start from, below the file's own: see training/presets.py."
    )
    model: str = Field(description="What to fine-tune: a hub id, a folder or an alias (minilm, smollm2-135m, …).")
    thinking_steps: PositiveInt = Field(8, le=1000, description="Thinking tokens; 1 trains the model's own pooling.")
    readout: Literal["residual"] | None = Field(
        None,
        description="residual: a view is the thinking token's state beside the mean over the text (for encoders that "
        "pool by mean); null: as the model has it, the state alone where thinking tokens are new (the paper's).",
    )
    thinking_weight: PositiveFloat = Field(
        1.0, description="Of the thinking token's state beside the mean, where readout is residual."
    )
    data: list[DataSet] = Field(min_length=1, description="Sets of training examples.")
    data_folder: str | None = Field(
        None,
        description="What data paths are relative to; null: the config file's folder. In the file it is relative "
        "to the file itself, on the command line to the working directory.",
    )
    homogeneous: bool = Field(True, description="A batch holds one set only: its positives are harder negatives.")
    temperature: PositiveFloat = Field(
        1.0,
        allow_inf_nan=True,
        description="Mixture of sets: 1 by size, larger evens them out (rows^(1/temperature)); times weight.",
    )
    max_bad: int = Field(0, ge=0, description="Bad rows of a set that are left out; one more stops before training.")
    loss: Loss = Field(Loss(), description="The objective.")
    lora: Lora | None = Field(Lora(), description="Null trains the full weights.")
    max_length: MaxLength = Field(MaxLength(), description="Longest texts in tokens.")
    negatives: int = Field(1, ge=0, description="Hard negatives taken per query, where a row has them.")
    batch_size: PositiveInt = Field(256, description="Queries per optimizer step, over all processes.")
    gradient_cache: Literal[False] | Annotated[int, Field(gt=0, strict=True)] = Field(  # strict: true is not 1
        False, description="Tokens per chunk: memory is bounded by the chunk, not by the batch. False: no chunks."
    )
    gradient_checkpointing: bool = Field(False, description="Less memory for about a third more time.")
    parallel: Literal["ddp", "fsdp"] = Field(
        "ddp", description="Over several processes: each holds the whole model, or a share of it (FSDP2)."
    )
    learning_rate: PositiveFloat = Field(2e-4, description="Peak rate.")
    warmup_steps: int = Field(300, ge=0, description="Steps over which the rate rises.")
    schedule: Literal["linear", "cosine"] = Field("linear", description="Decay of the rate to zero.")
    decay_steps: PositiveInt | Literal["epoch"] | None = Field(
        None, description="Steps after which the rate would be zero; epoch: one pass over the data; null: max_steps."
    )
    weight_decay: float = Field(0.0, ge=0, description="AdamW's.")
    max_grad_norm: PositiveFloat = Field(1.0, description="Gradients are clipped to this norm.")
    max_steps: PositiveInt = Field(1000, description="Optimizer steps, not counting a warm start.")
    save_steps: PositiveInt = Field(200, description="Steps between two checkpoints.")
    warm_start: WarmStart | None = Field(None, description="A first phase without labels; off in the paper's recipes.")
    eval: Evaluation | None = Field(None, description="nDCG@10 while training.")
    report_to: list[str] = Field(
        ["tensorboard"], description="Trackers, where installed: tensorboard, wandb, mlflow, … (transformers' own)."
    )
    search_instruction: str = Field("", description="The checkpoint's default words before a query.")
    seed: int = Field(42, ge=0, lt=2**63, description="Of order, dropout and initial values.")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="Of the frozen weights; auto takes what the hardware multiplies fast."
    )
    output: str = Field(description="Where checkpoints go, relative to the working directory.")

    @property
    def lexical_weights(self) -> list[float]:
        """Of BM25 in what the base model teaches, a set each."""
        return [self.loss.teacher_lexical if d.teacher_lexical is None else d.teacher_lexical for d in self.data]

    @model_validator(mode="after")
    def _states_beside_the_mean(self) -> Self:
        if self.thinking_weight != 1 and self.readout != "residual":
            raise ValueError("thinking_weight weighs states beside the mean: set readout: residual")
        return self

    @model_validator(mode="after")
    def _words_beside_the_base(self) -> Self:
        lexical = any(self.lexical_weights)
        if lexical and self.loss.teacher != "base":
            raise ValueError("teacher_lexical stands beside the base model's scores: set loss.teacher: base")
        if lexical and any(data.instruction for data in self.data):
            raise ValueError("teacher_lexical would count an instruction's words: leave one of the two out")
        return self

    @model_validator(mode="before")
    @classmethod
    def _on_top_of_the_preset(cls, values: Any) -> Any:
        name = values.get("preset") if isinstance(values, dict) else None
        preset = PRESETS.get(name) if isinstance(name, str) else None
        return merged(preset, values) if preset else values


def load_config(
    path: str | Path, overrides: Sequence[str] = (), *, output: str | Path | None = None
) -> TrainingSettings:
    """Read a config file; paths in it come back resolved. `output` stands for the file's own.

    Raises DebaterError naming key and line of any mistake.
    """
    if output is not None:
        overrides = [*overrides, f"output={json.dumps(str(output))}"]
    values = settings_of(path, overrides)[0] if is_released_config(path) else None
    settings = load_settings(TrainingSettings, path, overrides, values=values)
    folder = _data_folder(path, settings.data_folder, overrides)
    for data in settings.data:
        beside_it = folder / Path(data.path).expanduser()
        if beside_it.exists() or not is_hub_name(data.path):
            data.path = str(beside_it)
    if settings.eval is not None:
        settings.eval.task = str(beside(path, settings.eval.task))
    if Path(beside(path, settings.model)).is_dir() and not Path(settings.model).is_dir():
        settings.model = str(beside(path, settings.model))
    return settings


def _data_folder(path: str | Path, written: str | None, overrides: Sequence[str]) -> Path:
    """A folder that the file names lies beside the file, as all its paths; one typed as an override where one is."""
    if written is not None and any(override.startswith("data_folder=") for override in overrides):
        return Path(written).expanduser()
    return beside(path, written or ".")
