"""What a training config may say. Names are those of the config file; the reference page is generated from here."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt

from debater_search.config import beside, load_settings


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid")


class DataSet(_Section):
    """One file of training examples."""

    path: str = Field(description="JSON lines (also .gz, .zst), relative to the config file.")
    instruction: str | list[str] = Field(
        "", description="Words before every query of this set; a list alternates over the rows."
    )
    weight: PositiveFloat = Field(1.0, description="Share of batches relative to the set's size.")


class Loss(_Section):
    """The objective: contrast and self-distillation over thinking steps."""

    scale: PositiveFloat = Field(30.0, description="Inverse temperature of the cosines.")
    contrast: Literal["max", "last", "mean"] = Field("max", description="Which thinking step's score is contrasted.")
    distill: bool = Field(True, description="Let the best step teach the last one.")


class Lora(_Section):
    """Low-rank adaptation of every attention and MLP projection."""

    r: PositiveInt = Field(16, description="Rank.")
    alpha: PositiveInt = Field(32, description="Scaling: updates are multiplied by alpha / r.")
    dropout: float = Field(0.05, ge=0, lt=1, description="The only dropout; the backbone's own is set to 0.")


class MaxLength(_Section):
    """Longest texts in tokens; what stands around the body is always whole."""

    query: PositiveInt = Field(64, description="Query, instruction and special tokens included.")
    document: PositiveInt = Field(512, description="Document, prompt and thinking tokens included.")


class Evaluation(_Section):
    """Measure nDCG@10 while training and keep the best checkpoint in OUTPUT/best."""

    task: str = Field(description="A folder in BEIR layout, relative to the config file.")
    every: PositiveInt = Field(100, description="Steps between two measurements.")


class WarmStart(_Section):
    """A first phase without labels: thinking tokens learn the base model's own embedding of the same text."""

    steps: PositiveInt = Field(description="Optimizer steps, before and not counted in max_steps.")
    batch_size: PositiveInt = Field(64, description="Texts per step.")
    learning_rate: PositiveFloat = Field(1e-3, description="Peak rate; decays linearly to zero.")
    length: PositiveInt = Field(96, description="Longest text in tokens.")
    views: Literal["all", "last"] = Field("last", description="Which thinking steps are taught.")


class TrainingSettings(_Section):
    """A training run."""

    model: str = Field(description="What to fine-tune: a hub id, a folder or an alias (minilm, smollm2-135m, …).")
    thinking_steps: PositiveInt = Field(8, description="Thinking tokens; 1 trains the model's own pooling.")
    data: list[DataSet] = Field(min_length=1, description="Sets of training examples; a batch holds one set only.")
    loss: Loss = Field(Loss(), description="The objective.")
    lora: Lora | None = Field(Lora(), description="Null trains the full weights.")
    max_length: MaxLength = Field(MaxLength(), description="Longest texts in tokens.")
    negatives: int = Field(1, ge=0, description="Hard negatives taken per query, where a row has them.")
    batch_size: PositiveInt = Field(256, description="Queries per optimizer step, over all processes.")
    gradient_cache: Literal[False] | Annotated[int, Field(gt=0, strict=True)] = Field(  # strict: true is not 1
        False, description="Tokens per chunk: memory is bounded by the chunk, not by the batch. False: no chunks."
    )
    gradient_checkpointing: bool = Field(False, description="Less memory for about a third more time.")
    learning_rate: PositiveFloat = Field(2e-4, description="Peak rate.")
    warmup_steps: int = Field(300, ge=0, description="Steps over which the rate rises.")
    schedule: Literal["linear", "cosine"] = Field("linear", description="Decay to zero over the steps really run.")
    weight_decay: float = Field(0.0, ge=0, description="AdamW's.")
    max_grad_norm: PositiveFloat = Field(1.0, description="Gradients are clipped to this norm.")
    max_steps: PositiveInt = Field(1000, description="Optimizer steps, not counting a warm start.")
    save_steps: PositiveInt = Field(200, description="Steps between two checkpoints.")
    warm_start: WarmStart | None = Field(None, description="A first phase without labels; off in the paper's recipes.")
    eval: Evaluation | None = Field(None, description="nDCG@10 while training.")
    search_instruction: str = Field("", description="The checkpoint's default words before a query.")
    seed: int = Field(42, ge=0, lt=2**63, description="Of order, dropout and initial values.")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="Of the frozen weights; auto takes what the hardware multiplies fast."
    )
    output: str = Field(description="Where checkpoints go, relative to the working directory.")


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> TrainingSettings:
    """Read a config file; paths in it come back resolved. Raises DebaterError naming key and line of any mistake."""
    settings = load_settings(TrainingSettings, path, overrides)
    for data in settings.data:
        data.path = str(beside(path, data.path))
    if settings.eval is not None:
        settings.eval.task = str(beside(path, settings.eval.task))
    if Path(beside(path, settings.model)).is_dir() and not Path(settings.model).is_dir():
        settings.model = str(beside(path, settings.model))
    return settings
