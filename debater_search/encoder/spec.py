"""What makes an encoder besides its weights: template, pooling, lengths. A checkpoint's `debater.json`."""

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from debater_search.encoder.template import Template
from debater_search.errors import DamagedError, InvalidError

CHECKPOINT_FILE = "debater.json"
FORMAT = 4
"""2: the poolings `residual` and `body`, `thinking_weight`. 3: weights of 8 bits. 4: `bidirectional`,
`thinking_input`, `query_thinking`."""
DECLARABLE_POOLINGS = ("mean", "cls", "last", "max", "mean_sqrt_len", "weightedmean")
"""Those that a sentence-transformers folder may declare; a plain model may be read by any of them."""
POOLINGS = (*DECLARABLE_POOLINGS, "residual", "body")
"""Which of the last layer's states make a view. `last`: each thinking token's, or the last token's. `residual`: the
mean over the text at length 1, and each thinking token's at length `thinking_weight` beside it (ours, for encoders that
were made for mean pooling). `body`: the mean over the text without its special tokens. The others are
sentence-transformers'; `weightedmean` counts the nth token n times."""


@dataclass(frozen=True)
class Reading:
    """How hidden states of one kind of text, query or document, become views."""

    pooling: str
    """One of `POOLINGS`."""
    views: int = 1
    """Views per text; 1 unless the pooling reads thinking tokens (`last`, `residual`)."""
    thinking: int = 0
    """Thinking tokens at the end of each text."""
    edges: tuple[int, int] = (0, 0)
    """Special tokens before and after the text, not counting thinking tokens."""
    thinking_weight: float = 1.0
    """Length of a thinking token's state beside the mean (`residual`)."""
    states: bool = False
    """Whether a step reads the state of the step before, not its own token."""


@dataclass(frozen=True)
class EncoderSpec:
    """How hidden states become embeddings.

    Examples:
        >>> encoder.spec.document_pooling, encoder.spec.document_length
        ('residual', 256)
    """

    template: Template
    query_pooling: str
    document_pooling: str
    """`last` and `residual` give a view for each of the last `thinking_steps` tokens; the others one."""
    thinking_steps: int = 1
    query_length: int = 512
    document_length: int = 512
    """Longest query and document in tokens, prefix and suffix included."""
    trained_with_instructions: bool = False
    thinking_weight: float = 1.0
    """Of a thinking token's state beside the mean of length 1, where documents are pooled by `residual`."""
    bidirectional: bool = False
    """Whether the tokens of a decoder all see each other."""
    thinking_input: str = "token"
    """What a thinking step reads: its own `token`, or the last hidden `state` of the step before."""
    start: dict[str, Any] = field(default_factory=dict)
    """How untrained thinking tokens were set (`start_thinking_tokens`); {} = as the vocabulary has them."""

    @property
    def deliberates(self) -> bool:
        """Whether documents end in thinking tokens."""
        return bool(self.template.thinking_tokens)

    def reading(self, kind: str) -> Reading:
        """How texts of `kind`, "query" or "document", are read."""
        template = self.template
        before = len(template.prefix)
        if kind == "query":
            steps = template.query_thinking
            return Reading(
                self.query_pooling,
                views=max(1, steps),
                thinking=steps,
                edges=(before, len(template.query_suffix)),
                states=self.thinking_input == "state" and steps > 1,
            )
        return Reading(
            self.document_pooling,
            views=self.thinking_steps,
            thinking=self.thinking_steps if self.deliberates else 0,
            edges=(before, len(template.document_suffix)),
            thinking_weight=self.thinking_weight,
            states=self.thinking_input == "state" and self.thinking_steps > 1,
        )

    def read_out_at(self, steps: int) -> "EncoderSpec":
        """The same encoder stopped after `steps` thinking tokens: earlier steps never see later ones."""
        if not self.deliberates or not 1 <= steps <= self.thinking_steps:
            raise InvalidError(
                f"thinking_steps={steps} is not possible: this model was made with {self.thinking_steps}.",
                f"Use 1 to {self.thinking_steps}.",
            )
        dropped = self.thinking_steps - steps
        return replace(
            self,
            template=self.template.with_steps(steps),
            thinking_steps=steps,
            document_length=self.document_length - dropped,  # the body stays as long as it was
        )

    def format(self, *, int8: bool = False) -> int:
        """The oldest format that says all of it, so that older versions read what they can."""
        newest = self.bidirectional or self.thinking_input != "token" or self.template.query_thinking
        return 4 if newest else 3 if int8 else 2

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON types; newer fields only where they are not as before, so that older fingerprints hold."""
        values = asdict(self)
        if not self.template.cuts_left:
            del values["template"]["cuts_left"]
        if self.thinking_weight == 1:
            del values["thinking_weight"]
        if not self.bidirectional:
            del values["bidirectional"]
        if self.thinking_input == "token":
            del values["thinking_input"]
        if not self.template.query_thinking:
            del values["template"]["query_thinking"]
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "EncoderSpec":
        """Read back from `debater.json`. Raises DamagedError or InvalidError."""
        if values.get("format", FORMAT) > FORMAT:
            raise InvalidError(
                f"This checkpoint has format {values['format']}, newer than this version reads ({FORMAT}).",
                "Upgrade debater-search.",
            )
        if unknown := {values.get("query_pooling"), values.get("document_pooling")} - {*POOLINGS, None}:
            raise InvalidError(
                f"debater.json names an unknown pooling: {unknown.pop()}.", f"Known: {', '.join(POOLINGS)}."
            )
        try:
            newer = ("thinking_weight", "bidirectional", "thinking_input")
            values = {**{name: getattr(cls, name) for name in newer}, **values}
            kept = {k: values[k] for k in cls.__dataclass_fields__ if k != "template"}
            return cls(template=Template.from_dict(values["template"]), **kept)
        except (KeyError, TypeError, AttributeError) as error:
            raise DamagedError(f"debater.json is not complete ({error}).", "Was the checkpoint copied whole?") from None
