"""What a training config may say. Names are those of the config file; the reference page is generated from here."""

import logging
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from debater_search.training.presets import PRESETS, Preset, merged
from debater_search.training.sections import DataSet, Evaluation, Lora, Loss, MaxLength, Section, Thinking, WarmStart
from debater_search.training.synonyms import SYNONYMS

log = logging.getLogger(__name__)

DTYPES = {"auto": "auto", "bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
"""Values of `precision` → `dtype` of `Encoder.load`: frozen weights are kept in it."""
RENAMED = "The setting %s is now called %s; the older name is still read."


class TrainingSettings(Section):
    """A training run.

    Examples:
        >>> from debater_search.training import TrainingSettings
        >>> settings = TrainingSettings(model="debater-small", data=[{"path": "train.jsonl"}], output="checkpoints/new")
        >>> settings.thinking_steps
        8
    """

    synonyms: ClassVar[Mapping[str, str]] = SYNONYMS
    short_forms: ClassVar[Mapping[str, str]] = {
        "thinking.steps": "thinking_steps", "thinking.diversity": "loss.diversity", "precision": "dtype"
    }  # fmt: skip

    preset: Preset = Field(
        "default",
        description="Defaults that the file's own settings override: paper or released-code, the published recipes.",
    )
    model: str = Field(description="What to fine-tune: a hub id, a folder or an alias (minilm, smollm2-135m, …).")
    thinking: Thinking = Field(Thinking(), description="Thinking tokens, and what they read.")
    bidirectional: bool = Field(
        False,
        description="Let all tokens of a decoder see each other (LLM2Vec); needs thinking_steps: 1. A plain decoder is "
        "then pooled by mean; a sentence-transformers folder and a published adapter pool as they declare.",
    )
    readout: Literal["residual"] | None = Field(
        None,
        description="residual: a view combines the thinking token's state with the mean over the text (for encoders "
        "that pool by mean); null: as the model has it, or the state alone for new thinking tokens (as in the paper).",
    )
    thinking_weight: PositiveFloat = Field(
        1.0, description="Weight of the thinking token's state relative to the mean; needs readout: residual."
    )
    data: list[DataSet] = Field(min_length=1, description="Sets of training examples, each written as - path: FILE.")
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
    quantize: Literal["4bit"] | None = Field(
        None,
        description="4bit: hold the frozen weights below LoRA in 4 bits while training (QLoRA), on an NVIDIA GPU. The "
        "checkpoint is an adapter for the model as it is.",
    )
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
    schedule: Literal["linear", "cosine", "constant", "wsd"] = Field(
        "linear",
        description="Course of the learning rate after warm-up: to zero as a line or a cosine; constant; wsd: "
        "constant, then to zero over the last decay_ratio of the steps.",
    )
    decay_ratio: float = Field(0.1, gt=0, le=1, description="Share of all steps over which wsd's rate falls to zero.")
    decay_steps: PositiveInt | Literal["epoch"] | None = Field(
        None,
        description="Step at which the learning rate would reach zero (not where schedule is constant); epoch: one "
        "pass over the data; null: the last.",
    )
    weight_decay: float = Field(0.0, ge=0, description="Weight decay of AdamW; norms and biases have none.")
    max_grad_norm: PositiveFloat = Field(1.0, description="Gradients are clipped to this norm.")
    max_steps: PositiveInt = Field(1000, description="Optimizer steps, not counting a warm start.")
    epochs: PositiveFloat | None = Field(None, description="Passes over the data, instead of max_steps.")
    save_steps: PositiveInt = Field(200, description="Steps between two checkpoints; the last step has one, too.")
    save_total_limit: PositiveInt | None = Field(
        None, description="Checkpoints to keep, the newest ones; older ones are removed. null: all. best always stays."
    )
    average_last: PositiveInt = Field(
        1,
        description="Checkpoints whose weights are averaged into the final one: the last ones. 1: no averaging.",
    )
    warm_start: WarmStart | None = Field(None, description="A first phase without labels; off in the paper's recipes.")
    eval: Evaluation | None = Field(None, description="Measurements of nDCG@10 during training.")
    report_to: list[str] = Field(
        ["tensorboard"],
        description="Experiment trackers, if installed: tensorboard, wandb, mlflow, … (transformers' own).",
    )
    search_instruction: str = Field("", description="Default instruction of the checkpoint, put before each query.")
    document_prompt: str | None = Field(
        None,
        description='Put before each document, in training and by the checkpoint ("passage: "); null: what the '
        "model's folder declares.",
    )
    seed: int = Field(42, ge=0, lt=2**63, description="Seed of the row order, dropout and initial values.")
    precision: Literal["auto", "bf16", "fp16", "fp32"] = Field(
        "auto",
        description="Number type of multiplications and of frozen weights; weights that learn are kept in fp32. "
        "auto: bf16 on GPUs that multiply it fast, else fp32.",
    )
    attention: Literal["auto", "sdpa", "eager", "flash_attention_2"] = Field(
        "auto", description="Attention kernel; auto: FlashAttention 2 for decoders on GPUs where it is installed."
    )
    output: str = Field(description="Where checkpoints go, relative to the working directory.")

    @property
    def thinking_steps(self) -> int:
        """Views of a document: `thinking.steps`."""
        return self.thinking.steps

    @property
    def lexical_weights(self) -> list[float]:
        """Of BM25 in what the base model teaches, a set each."""
        return [self.loss.teacher_lexical if d.teacher_lexical is None else d.teacher_lexical for d in self.data]

    @property
    def teachers(self) -> list[str]:
        """The names of the teachers (or the guide) that score a whole batch, in the order of their vectors."""
        words = ["words"] if any(self.lexical_weights) else []
        if self.loss.teacher == "base":
            return ["base", *words, *(model.name for model in self.loss.teacher_models)]
        return [self.loss.guide] if self.loss.guide is not None else []

    @model_validator(mode="after")
    def _known_teachers(self) -> Self:
        loss = self.loss
        idle = [model for model in loss.teacher_models if model.name != loss.guide]
        if loss.teacher != "base" and (idle or loss.step_teachers or (loss.teacher_cache and loss.guide is None)):
            raise ValueError(
                "teacher_models, teacher_cache and step_teachers go with a base model: set loss.teacher: base"
            )
        if loss.guide not in (None, "base", *(model.name for model in loss.teacher_models)):
            raise ValueError(f"guide names {loss.guide!r}, which is neither base nor one of teacher_models")
        if loss.guide_margin and loss.guide is None:
            raise ValueError("guide_margin needs a guide")
        known = ["all", "data", *self.teachers]
        if len({*known}) < len(known):
            raise ValueError("teacher_models need names of their own, other than base, words, all and data")
        if unknown := [name for name in loss.step_teachers if name not in known]:
            raise ValueError(f"step_teachers names {unknown[0]!r}; the teachers are {', '.join(known)}")
        if loss.step_scales and (loss.contrast != "step" or len(loss.step_scales) != self.thinking_steps):
            raise ValueError("step_scales needs contrast: step, and a number for each of thinking_steps")
        return self

    @model_validator(mode="after")
    def _adapter_on_four_bits(self) -> Self:
        if self.quantize is not None and self.lora is None:
            raise ValueError("quantize needs lora: weights of 4 bits do not learn")
        if self.quantize is not None and self.parallel == "fsdp":
            raise ValueError("quantize and parallel: fsdp exclude each other: weights of 4 bits are not shared out")
        return self

    @model_validator(mode="after")
    def _decay_of_the_schedule(self) -> Self:
        if self.schedule != "wsd" and self.decay_ratio != type(self).model_fields["decay_ratio"].default:
            raise ValueError("decay_ratio needs schedule: wsd")
        return self

    @model_validator(mode="after")
    def _enough_to_average(self) -> Self:
        if self.save_total_limit is not None and self.save_total_limit < self.average_last - 1:
            raise ValueError(
                f"average_last ({self.average_last}) needs {self.average_last - 1} checkpoints, and save_total_limit "
                f"keeps {self.save_total_limit}"
            )
        return self

    @model_validator(mode="after")
    def _both_ways_without_thinking(self) -> Self:
        if self.bidirectional and self.thinking_steps != 1:
            raise ValueError("bidirectional needs thinking_steps: 1: a thinking step must not see the steps after it")
        return self

    @model_validator(mode="after")
    def _one_pass_for_each_state(self) -> Self:
        if self.thinking.input == "state" and self.gradient_checkpointing:
            raise ValueError("thinking.input: state keeps keys and values, which gradient_checkpointing drops")
        if self.thinking.input == "state" and self.parallel == "fsdp":
            raise ValueError("thinking.input: state and parallel: fsdp exclude each other")
        if self.thinking.query and self.readout == "residual":
            raise ValueError("thinking.query and readout: residual exclude each other: such queries are a mean")
        return self

    @model_validator(mode="after")
    def _longer_than_thinking(self) -> Self:
        """What else stands around a text is known only once the tokenizer is loaded: see `starting.require_room`."""
        steps = self.thinking.steps if self.thinking.steps > 1 else 0
        limits = [("max_length.query", self.max_length.query, self.thinking.query)]
        limits += [("max_length.document", self.max_length.document, steps)]
        if self.warm_start is not None:
            limits += [("warm_start.length", self.warm_start.length, steps)]
        for name, length, tokens in limits:
            if length <= tokens:
                raise ValueError(f"{name} is {length}, but it must be above {tokens}, the number of thinking tokens")
        return self

    @model_validator(mode="after")
    def _states_beside_the_mean(self) -> Self:
        if self.thinking_weight != 1 and self.readout != "residual":
            raise ValueError("thinking_weight needs readout: residual")
        return self

    @model_validator(mode="after")
    def _words_beside_the_base(self) -> Self:
        if any(self.lexical_weights) and self.loss.teacher != "base":
            raise ValueError("teacher_lexical needs loss.teacher: base")
        return self

    @model_validator(mode="before")
    @classmethod
    def _of_thinking(cls, values: Any) -> Any:
        """Read `thinking_steps`, the short form, and `loss.diversity`, as releases before called it."""
        if not isinstance(values, dict):
            return values
        loss, thinking, moved = values.get("loss"), values.get("thinking"), {}
        if "thinking_steps" in values:
            moved["steps"] = values["thinking_steps"]
        if isinstance(loss, dict) and "diversity" in loss:
            log.info(RENAMED, "loss.diversity", "thinking.diversity")
            moved["diversity"] = loss["diversity"]
            values = {**values, "loss": {name: value for name, value in loss.items() if name != "diversity"}}
        if not moved:
            return values
        if not isinstance(thinking or {}, dict | Thinking):  # then that is what is wrong
            return {name: value for name, value in values.items() if name != "thinking_steps"}
        written = thinking.model_dump(exclude_unset=True) if isinstance(thinking, Thinking) else thinking or {}
        if twice := moved.keys() & written.keys():
            short = {"steps": "thinking_steps", "diversity": "loss.diversity"}[min(twice)]
            raise ValueError(f"{short} is another name of thinking.{min(twice)}: leave one of them out")
        rest = {name: value for name, value in values.items() if name != "thinking_steps"}
        return {**rest, "thinking": {**written, **moved}}

    @model_validator(mode="before")
    @classmethod
    def _by_its_older_name(cls, values: Any) -> Any:
        """Read `dtype`, as releases before called it, as `precision`."""
        if not isinstance(values, dict) or "dtype" not in values:
            return values
        if "precision" in values:
            raise ValueError("dtype is the older name of precision: leave it out")
        log.info(RENAMED, "dtype", "precision")
        written = values["dtype"]
        known = next((ours for ours, theirs in DTYPES.items() if theirs == written), written)
        return {**{name: value for name, value in values.items() if name != "dtype"}, "precision": known}

    @model_validator(mode="before")
    @classmethod
    def _on_top_of_the_preset(cls, values: Any) -> Any:
        name = values.get("preset") if isinstance(values, dict) else None
        preset = PRESETS.get(name) if isinstance(name, str) else None
        return merged(preset, values) if preset else values
