"""The sections of a training config: data, loss, LoRA, lengths, measurements, warm start."""

from collections.abc import Mapping, Sequence
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

_LARGEST = 2**53
"""Whole numbers beyond it are no counts, and some libraries cannot hold them."""


class Section(BaseModel):
    """A mapping of a training config: unknown names are refused."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, ser_json_inf_nan="constants")

    @field_validator("*", mode="after")
    @classmethod
    def _no_huge_numbers(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, int) and abs(value) > _LARGEST and info.field_name != "seed":
            raise ValueError(f"a whole number is at most {_LARGEST:,} here")
        return value


class DataSet(Section):
    """One set of training examples."""

    path: str = Field(
        description="JSON lines, CSV or TSV (each also .gz, .zst), Parquet, or a folder in BEIR layout, relative to "
        "the config file; or a data set of the hub, as owner/name."
    )
    corpus: str | None = Field(
        None,
        description="For a file of judgements (debater serve --judgements): the index or corpus with the documents, "
        "relative to the config file.",
    )
    instruction: str | list[str] = Field(
        "",
        description="Instruction put before each query of this set; a list alternates over the rows. Without one: the "
        "query prompt that the model's folder declares.",
    )
    document_prompt: str | None = Field(
        None, description="Put before each document of this set while training; null: the config's document_prompt."
    )
    weight: PositiveFloat = Field(1.0, description="Share of batches relative to the set's size.")
    teacher_lexical: float | None = Field(
        None, ge=0, description="loss.teacher_lexical for this set's queries; null: the loss's."
    )


class TeacherModel(Section):
    """Another encoder whose cosines are taught beside the base model's."""

    name: str = Field(description="Name by which step_teachers refers to it.")
    model: str = Field(description="A hub id, an alias, or a folder relative to the config file.")
    weight: PositiveFloat = Field(1.0, description="Weight of its cosines; the base model's have weight 1.")
    dtype: Literal["auto", "int8"] = Field("auto", description="int8: faster on a CPU, vectors close to those of auto.")


class Loss(Section):
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
    guide: str | None = Field(
        None,
        description="Exclude negatives that a guide scores above the positive (GISTEmbed): base (the untrained model), "
        "or the name of one of teacher_models, which may but need not teach.",
    )
    guide_margin: float = Field(
        0.0, description="Exclude those whose cosine, by the guide, exceeds the positive's by more than this."
    )
    symmetric: bool = Field(
        False, description="Contrast both ways: also each positive with the batch's queries; the two are averaged."
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
        [],
        description="Other encoders: their cosines are added to the base model's where the teacher is base, and one "
        "may be the guide.",
    )
    teacher_cache: bool = Field(
        False, description="Keep teachers' vectors in the cache on disk, for the next run on the same texts."
    )
    step_teachers: list[str] = Field(
        [],
        description="Teacher of each thinking step, in addition to the last one's: base, words, a teacher model's "
        "name, all of these, or data (the scores that rows carry); repeated from the first if there are more steps.",
    )
    matryoshka: list[PositiveInt] = Field(
        [], description="Shorter dimensions that are trained together with the full one."
    )

    def arguments(self, teachers: Sequence[str] = ()) -> dict[str, Any]:
        """What `DeliberationLoss` takes; the rest is the teachers', whose names are given in order."""
        from debater_search.training.loss import ALL, DATA  # it imports torch

        numbers = {"all": ALL, "data": DATA, **{name: number for number, name in enumerate(teachers)}}
        values = self.model_dump(exclude={"teacher_lexical", "teacher_models", "teacher_cache"})
        values |= {"step_teachers": [numbers[name] for name in self.step_teachers]}
        if self.guide is not None:
            weights = {model.name: model.weight for model in self.teacher_models if self.teacher == "base"}
            values |= {"guide": numbers[self.guide], "guide_margin": self.guide_margin * weights.get(self.guide, 1.0)}
        return values


class Thinking(Section):
    """How documents, and queries if they should, think before they become a vector."""

    steps: PositiveInt = Field(
        8, le=1000, description="Thinking tokens; 1 trains the model's own pooling. thinking_steps is its short form."
    )
    input: Literal["token", "state"] = Field(
        "token",
        description="What a step reads. token: its own token, all steps in one pass. state: the last hidden state of "
        "the step before, in a pass of its own (a continuous chain of thought; decoders).",
    )
    query: int = Field(
        0,
        ge=0,
        description="Thinking tokens behind a query, whose vector is then the last one's; 0: queries do not think.",
    )
    diversity: float = Field(
        0.0, ge=0, description="Weight of -log(1 - mean cosine between a document's thinking steps): keeps them apart."
    )

    @model_validator(mode="after")
    def _with_steps(self) -> Self:
        if self.query > self.steps:
            raise ValueError(f"query ({self.query}) is above steps ({self.steps}), whose first tokens it takes")
        if self.steps == 1 and (self.input == "state" or self.query or self.diversity):
            raise ValueError("input: state, query and diversity need steps above 1")
        return self


class Lora(Section):
    """Low-rank adaptation of attention and MLP projections."""

    synonyms: ClassVar[Mapping[str, str]] = {"rank": "r", "lora_rank": "r", "lora_r": "r"}

    targets: list[str] | Literal["all-linear"] | None = Field(
        None,
        description="Linear layers to adapt, by the ends of their names (q_proj); all-linear: also those outside the "
        "transformer blocks; null: all inside the blocks.",
    )
    r: PositiveInt = Field(16, le=100_000, description="Rank.")
    alpha: PositiveInt = Field(32, description="Scaling: updates are multiplied by alpha / r.")
    rslora: bool = Field(
        False, description="Rank-stabilised LoRA: updates are multiplied by alpha / √r, for ranks of 64 and more."
    )
    dora: bool = Field(
        False, description="DoRA: the length of each weight's columns learns apart from their direction; slower."
    )
    last_layers: PositiveInt | None = Field(
        None,
        description="Adapt only this many of the last layers, and keep the initial embeddings of new thinking "
        "tokens; null: adapt all layers.",
    )
    dropout: float = Field(0.05, ge=0, lt=1, description="The only dropout; the backbone's own is set to 0.")


class MaxLength(Section):
    """Longest texts in tokens; what stands around the body is always whole."""

    query: PositiveInt = Field(64, description="Query, instruction and special tokens included; in search, too.")
    document: PositiveInt = Field(512, description="Document, prompt and thinking tokens included.")
    search: PositiveInt | None = Field(
        None, description="Document length of the trained model, at least document; null: as in training."
    )

    @model_validator(mode="after")
    def _no_shorter_in_search(self) -> Self:
        if self.search is not None and self.search < self.document:
            raise ValueError(
                f"search ({self.search}) is below document ({self.document}): give at least {self.document}"
            )
        return self


class Evaluation(Section):
    """Measure nDCG@10 while training and keep the best checkpoint in OUTPUT/best."""

    task: str | Annotated[list[str], Field(min_length=1)] = Field(
        description="A folder in BEIR layout, relative to the config file; with a list of folders, their mean counts."
    )
    every: PositiveInt = Field(100, description="Steps between two measurements.")
    split: str = Field("test", description="Split whose judgements are used: qrels/SPLIT.tsv.")
    sample: PositiveInt | None = Field(
        None, description="Sample of the corpus: the judged documents and this many others; null: the whole corpus."
    )
    patience: PositiveInt | None = Field(None, description="Stop after this many measurements without a new best.")

    @property
    def tasks(self) -> list[str]:
        """The folders."""
        return [self.task] if isinstance(self.task, str) else self.task

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if twice := [task for n, task in enumerate(self.tasks) if task in self.tasks[:n]]:
            raise ValueError(f"task names {twice[0]} more than once")
        return self


class WarmStart(Section):
    """A first phase without labels: thinking tokens learn the base model's own embedding of the same text."""

    steps: PositiveInt = Field(description="Optimizer steps, before and not counted in max_steps.")
    batch_size: PositiveInt = Field(64, description="Texts per step, over all processes.")
    learning_rate: PositiveFloat = Field(1e-3, description="Peak learning rate; decays linearly to zero.")
    length: PositiveInt = Field(96, description="Longest text in tokens.")
    views: Literal["all", "last"] = Field("last", description="Which thinking steps are taught.")
