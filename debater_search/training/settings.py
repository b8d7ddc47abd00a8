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

DTYPES = {"auto": "auto", "bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
"""Values of `precision` → `dtype` of `Encoder.load`: frozen weights are kept in it."""
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
    corpus: str | None = Field(
        None,
        description="For a file of judgements (debater serve --judgements): the index or corpus with the documents, "
        "relative to the config file.",
    )
    instruction: str | list[str] = Field(
        "", description="Instruction put before each query of this set; a list alternates over the rows."
    )
    weight: PositiveFloat = Field(1.0, description="Share of batches relative to the set's size.")
    teacher_lexical: float | None = Field(
        None, ge=0, description="loss.teacher_lexical for this set's queries; null: the loss's."
    )


class TeacherModel(_Section):
    """Another encoder whose cosines are taught beside the base model's."""

    name: str = Field(description="What step_teachers calls it.")
    model: str = Field(description="A hub id, an alias, or a folder relative to the config file.")
    weight: PositiveFloat = Field(1.0, description="Of its cosines, beside the base model's with weight 1.")
    dtype: Literal["auto", "int8"] = Field("auto", description="int8: faster on a CPU, vectors close to those of auto.")


class Loss(_Section):
    """The objective: contrast and self-distillation over thinking steps, and what else composes with them."""

    scale: PositiveFloat = Field(30.0, description="Inverse temperature of the cosines.")
    contrast: Literal["max", "last", "mean", "step"] = Field(
        "max",
        description="Which thinking step's score is contrasted: of each pair the best, the last, the mean; step: of "
        "each query the one step whose contrast is lowest.",
    )
    step_scales: list[PositiveFloat] = Field(
        [], description="Inverse temperature of each thinking step, where contrast is step; none: scale for all."
    )
    diversity: float = Field(
        0.0, ge=0, description="Weight of -log(1 - mean cosine between a document's thinking steps): keeps them apart."
    )
    distill: bool = Field(True, description="Let the best step teach the last one.")
    distill_weight: PositiveFloat = Field(
        1.0, description="Weight of self-distillation; the contrastive term has weight 1."
    )
    combine: Literal["mean", "sum"] = Field(
        "mean", description="How the weighted terms are combined: their mean (released code) or their sum (the paper)."
    )
    mask_duplicates: bool = Field(
        True, description="Exclude from a query's negatives the texts that are its positives elsewhere in the batch."
    )
    mask_margin: float | None = Field(
        None,
        description="Exclude negatives whose cosine exceeds the positive's by more than this (-0.05: also below it).",
    )
    teacher: Literal["kl", "margin_mse", "base"] | None = Field(
        None,
        description="Distill a teacher's scores into the last step. kl, margin_mse: the data's scores of a query's "
        "positive and negatives. base: the untrained model's scores (and BM25's) of all texts in the batch.",
    )
    teacher_weight: PositiveFloat = Field(
        1.0, description="Weight of the teacher term; the contrastive term has weight 1."
    )
    teacher_scale: PositiveFloat | None = Field(
        None,
        description="Multiplies the teacher's scores; null: 1 for the data's (logits), loss.scale for base (cosines).",
    )
    teacher_lexical: float = Field(
        0.0, ge=0, description="Weight of BM25 (from 0 to 1) beside the base model's cosine, where the teacher is base."
    )
    teacher_models: list[TeacherModel] = Field(
        [], description="Other encoders whose cosines are added to the base model's, where the teacher is base."
    )
    teacher_cache: bool = Field(
        False, description="Keep teachers' vectors in the cache on disk, for the next run on the same texts."
    )
    step_teachers: list[str] = Field(
        [],
        description="The teacher of each thinking step beside the last one's: base, words, a teacher model's name, all "
        "of these, or data (the scores that rows carry); begun again where there are more steps.",
    )
    matryoshka: list[PositiveInt] = Field(
        [], description="Shorter dimensions that are trained together with the full one."
    )

    def arguments(self, teachers: Sequence[str] = ()) -> dict[str, Any]:
        """What `DeliberationLoss` takes; the rest is the teachers', whose names are given in order."""
        from debater_search.training.loss import ALL, DATA  # it imports torch

        numbers = {"all": ALL, "data": DATA, **{name: number for number, name in enumerate(teachers)}}
        values = self.model_dump(exclude={"teacher_lexical", "teacher_models", "teacher_cache"})
        return {**values, "step_teachers": [numbers[name] for name in self.step_teachers]}


class Lora(_Section):
    """Low-rank adaptation of attention and MLP projections."""

    targets: list[str] | Literal["all-linear"] | None = Field(
        None,
        description="Linear layers to adapt, by the ends of their names (q_proj); all-linear: also those outside the "
        "transformer blocks; null: all inside the blocks.",
    )
    r: PositiveInt = Field(16, le=100_000, description="Rank.")
    alpha: PositiveInt = Field(32, description="Scaling: updates are multiplied by alpha / r.")
    last_layers: PositiveInt | None = Field(
        None,
        description="Adapt only this many of the last layers, and keep the initial embeddings of new thinking "
        "tokens; null: adapt all layers.",
    )
    dropout: float = Field(0.05, ge=0, lt=1, description="The only dropout; the backbone's own is set to 0.")


class MaxLength(_Section):
    """Longest texts in tokens; what stands around the body is always whole."""

    query: PositiveInt = Field(64, description="Query, instruction and special tokens included.")
    document: PositiveInt = Field(512, description="Document, prompt and thinking tokens included.")
    search: PositiveInt | None = Field(
        None, description="Document length of the trained model, at least document; null: as in training."
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
    split: str = Field("test", description="Split whose judgements are used: qrels/SPLIT.tsv.")
    sample: PositiveInt | None = Field(
        None, description="Sample of the corpus: the judged documents and this many others; null: the whole corpus."
    )
    patience: PositiveInt | None = Field(None, description="Stop after this many measurements without a new best.")


class WarmStart(_Section):
    """A first phase without labels: thinking tokens learn the base model's own embedding of the same text."""

    steps: PositiveInt = Field(description="Optimizer steps, before and not counted in max_steps.")
    batch_size: PositiveInt = Field(64, description="Texts per step, over all processes.")
    learning_rate: PositiveFloat = Field(1e-3, description="Peak learning rate; decays linearly to zero.")
    length: PositiveInt = Field(96, description="Longest text in tokens.")
    views: Literal["all", "last"] = Field("last", description="Which thinking steps are taught.")


class TrainingSettings(_Section):
    """A training run."""

    synonyms: ClassVar[Mapping[str, str]] = SYNONYMS

    preset: Preset = Field(
        "default", description="Defaults that the file's own settings override: see training/presets.py."
    )
    model: str = Field(description="What to fine-tune: a hub id, a folder or an alias (minilm, smollm2-135m, …).")
    thinking_steps: PositiveInt = Field(8, le=1000, description="Thinking tokens; 1 trains the model's own pooling.")
    readout: Literal["residual"] | None = Field(
        None,
        description="residual: a view combines the thinking token's state with the mean over the text (for encoders "
        "that pool by mean); null: as the model has it, or the state alone for new thinking tokens (as in the paper).",
    )
    thinking_weight: PositiveFloat = Field(
        1.0, description="Weight of the thinking token's state relative to the mean; needs readout: residual."
    )
    data: list[DataSet] = Field(min_length=1, description="Sets of training examples.")
    data_folder: str | None = Field(
        None,
        description="What data paths are relative to; null: the config file's folder. In the file it is relative "
        "to the file itself, on the command line to the working directory.",
    )
    homogeneous: bool = Field(
        True, description="Each batch takes rows of one set only, so that its in-batch negatives are harder."
    )
    temperature: PositiveFloat = Field(
        1.0,
        allow_inf_nan=True,
        description="Mixture of sets: 1 by size, larger evens them out (rows^(1/temperature)); times weight.",
    )
    max_bad: int = Field(
        0, ge=0, description="Bad rows per set that are skipped; more than this stop the run before training."
    )
    loss: Loss = Field(Loss(), description="The loss.")
    lora: Lora | None = Field(Lora(), description="LoRA settings; null trains all weights.")
    max_length: MaxLength = Field(MaxLength(), description="Maximum lengths in tokens.")
    negatives: int = Field(1, ge=0, description="Hard negatives taken per query, where a row has them.")
    batch_size: PositiveInt = Field(256, description="Queries per optimizer step, over all processes.")
    gradient_cache: Literal[False] | Annotated[int, Field(gt=0, strict=True)] = Field(  # strict: true is not 1
        False, description="Tokens per chunk: memory is bounded by the chunk, not by the batch. False: no chunks."
    )
    gradient_checkpointing: bool = Field(
        False, description="Recompute activations in the backward pass: less memory, about a third more time."
    )
    parallel: Literal["ddp", "fsdp"] = Field(
        "ddp", description="How several processes hold the model: each all of it (ddp), or each a shard (fsdp: FSDP2)."
    )
    learning_rate: PositiveFloat = Field(2e-4, description="Peak learning rate.")
    warmup_steps: int = Field(300, ge=0, description="Steps over which the learning rate rises.")
    warmup_ratio: float | None = Field(
        None, ge=0, lt=1, description="Share of all steps over which the learning rate rises; null: warmup_steps."
    )
    schedule: Literal["linear", "cosine"] = Field("linear", description="Shape of the learning rate's decay to zero.")
    decay_steps: PositiveInt | Literal["epoch"] | None = Field(
        None,
        description="Step at which the learning rate would reach zero; epoch: one pass over the data; null: the last.",
    )
    weight_decay: float = Field(0.0, ge=0, description="Weight decay of AdamW.")
    max_grad_norm: PositiveFloat = Field(1.0, description="Gradients are clipped to this norm.")
    max_steps: PositiveInt = Field(1000, description="Optimizer steps, not counting a warm start.")
    epochs: PositiveFloat | None = Field(None, description="Passes over the data, instead of max_steps.")
    save_steps: PositiveInt = Field(200, description="Steps between two checkpoints.")
    save_total_limit: PositiveInt | None = Field(
        None, description="Checkpoints to keep, the newest ones; older ones are removed. null: all. best always stays."
    )
    warm_start: WarmStart | None = Field(None, description="A first phase without labels; off in the paper's recipes.")
    eval: Evaluation | None = Field(None, description="Measurements of nDCG@10 during training.")
    report_to: list[str] = Field(
        ["tensorboard"],
        description="Experiment trackers, if installed: tensorboard, wandb, mlflow, … (transformers' own).",
    )
    search_instruction: str = Field("", description="Default instruction of the checkpoint, put before each query.")
    seed: int = Field(42, ge=0, lt=2**63, description="Seed of the row order, dropout and initial values.")
    precision: Literal["auto", "bf16", "fp16", "fp32"] = Field(
        "auto",
        description="What the model multiplies in, and the number type of frozen weights; weights that learn are kept "
        "in fp32. auto: bf16 on GPUs that multiply it fast, else fp32.",
    )
    attention: Literal["auto", "sdpa", "eager", "flash_attention_2"] = Field(
        "auto", description="Attention kernel; auto: FlashAttention 2 for decoders on GPUs where it is installed."
    )
    output: str = Field(description="Where checkpoints go, relative to the working directory.")

    @property
    def lexical_weights(self) -> list[float]:
        """Of BM25 in what the base model teaches, a set each."""
        return [self.loss.teacher_lexical if d.teacher_lexical is None else d.teacher_lexical for d in self.data]

    @property
    def teachers(self) -> list[str]:
        """The names of the teachers that score a whole batch, in the order of their vectors."""
        words = ["words"] if any(self.lexical_weights) else []
        return (
            ["base", *words, *(model.name for model in self.loss.teacher_models)] if self.loss.teacher == "base" else []
        )

    @model_validator(mode="after")
    def _known_teachers(self) -> Self:
        loss = self.loss
        if loss.teacher != "base" and (loss.teacher_models or loss.step_teachers or loss.teacher_cache):
            raise ValueError(
                "teacher_models, teacher_cache and step_teachers go with a base model: set loss.teacher: base"
            )
        known = ["all", "data", *self.teachers]
        if len({*known}) < len(known):
            raise ValueError("teacher_models need names of their own, other than base, words, all and data")
        if unknown := [name for name in loss.step_teachers if name not in known]:
            raise ValueError(f"step_teachers names {unknown[0]!r}; the teachers are {', '.join(known)}")
        if loss.step_scales and (loss.contrast != "step" or len(loss.step_scales) != self.thinking_steps):
            raise ValueError("step_scales needs contrast: step, and a number for each of thinking_steps")
        return self

    @model_validator(mode="after")
    def _states_beside_the_mean(self) -> Self:
        if self.thinking_weight != 1 and self.readout != "residual":
            raise ValueError("thinking_weight needs readout: residual")
        return self

    @model_validator(mode="after")
    def _words_beside_the_base(self) -> Self:
        lexical = any(self.lexical_weights)
        if lexical and self.loss.teacher != "base":
            raise ValueError("teacher_lexical needs loss.teacher: base")
        if lexical and any(data.instruction for data in self.data):
            raise ValueError(
                "teacher_lexical and instruction exclude each other: BM25 would count the words of the instruction"
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _by_its_older_name(cls, values: Any) -> Any:
        """Read `dtype`, as releases before called it, as `precision`."""
        if not isinstance(values, dict) or "dtype" not in values:
            return values
        if "precision" in values:
            raise ValueError("dtype is the older name of precision: leave it out")
        written = values["dtype"]
        known = next((ours for ours, theirs in DTYPES.items() if theirs == written), written)
        return {**{name: value for name, value in values.items() if name != "dtype"}, "precision": known}

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
        if data.corpus is not None:
            data.corpus = str(folder / Path(data.corpus).expanduser())
    if settings.eval is not None:
        settings.eval.task = str(beside(path, settings.eval.task))
    settings.model = _found_beside(path, settings.model)
    for teacher in settings.loss.teacher_models:
        teacher.model = _found_beside(path, teacher.model)
    return settings


def _found_beside(path: str | Path, model: str) -> str:
    """A model's folder beside the config file, if it is one and not one of the working directory; else the name."""
    folder = beside(path, model)
    return str(folder) if Path(folder).is_dir() and not Path(model).is_dir() else model


def _data_folder(path: str | Path, written: str | None, overrides: Sequence[str]) -> Path:
    """A folder that the file names lies beside the file, as all its paths; one typed as an override where one is."""
    if written is not None and any(override.startswith("data_folder=") for override in overrides):
        return Path(written).expanduser()
    return beside(path, written or ".")
