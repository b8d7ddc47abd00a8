"""The identity of an encoder: what a manifest records of the model that made its vectors."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Protocol, Required, TypeVar

from pydantic import BaseModel, ConfigDict, Field, with_config
from typing_extensions import TypedDict  # pydantic asks for this one before Python 3.12

from debater_search.errors import InvalidError

INT8 = "int8"
"""The number type of an encoder whose linear layers compute in 8-bit integers."""


class EncoderIdentity(Protocol):
    """The facts that tell one encoder from another."""

    @property
    def name(self) -> str:
        """The name that the user gave the model."""

    @property
    def fingerprint(self) -> str:
        """A hash over everything that determines the vectors; encoders with the same one may share an index."""

    @property
    def recipe(self) -> Mapping[str, Any]:
        """The arguments of `Encoder.load` that load this encoder again (see `Recipe`)."""

    @property
    def dim(self) -> int:
        """Length of a vector."""

    @property
    def thinking_steps(self) -> int:
        """Vectors per document, the last of which is its embedding; 1 for encoders that do not deliberate."""

    @property
    def dtype(self) -> str:
        """The number type that it computes in: float32, bfloat16, float16 or int8."""


@with_config(ConfigDict(extra="forbid"))
class Recipe(TypedDict, total=False):
    """The arguments of `Encoder.load` that a manifest may name."""

    model: Required[str]
    base_model: str
    thinking_steps: int
    max_length: int
    dim: int
    pooling: str
    attention: str
    bidirectional: bool


class EncoderInfo(BaseModel):
    """The encoder that made the vectors: its identity (`fingerprint`) and how to load it again (`recipe`)."""

    name: str
    fingerprint: str
    dim: Annotated[int, Field(gt=0)]
    thinking_steps: Annotated[int, Field(gt=0)]
    recipe: Recipe
    int8: bool = False
    """Whether documents are encoded in 8-bit integers; queries never are."""

    def __str__(self) -> str:
        return f"{self.name} (fingerprint {self.fingerprint[:12]})"

    @classmethod
    def of(cls, encoder: EncoderIdentity) -> "EncoderInfo":
        """What a manifest records of an encoder."""
        recipe = Recipe(**encoder.recipe)  # type: ignore[typeddict-item]  # validated by pydantic
        return cls(
            name=encoder.name,
            fingerprint=encoder.fingerprint,
            dim=encoder.dim,
            thinking_steps=encoder.thinking_steps,
            recipe=recipe,
            int8=encoder.dtype == INT8,
        )


def fingerprints_of(encoder: EncoderIdentity) -> tuple[str, ...]:
    """Every fingerprint that stands for an encoder: its own first, then those that earlier versions gave it."""
    return (encoder.fingerprint, *getattr(encoder, "former_fingerprints", ()))


E = TypeVar("E", bound=EncoderIdentity)


def require_same(encoder: E, info: EncoderInfo | None, folder: Path) -> E:
    """Return the encoder if it made the index in `folder`; `info` is the encoder that the index records.

    Raises:
        InvalidError: another encoder made the index, or none did.

    """
    info = require_dense(info, folder)
    if info.fingerprint not in fingerprints_of(encoder):
        raise InvalidError(
            f"The index {folder} was made by {info}, not by {EncoderInfo.of(encoder)}.",
            "Use the model that made it, or index the corpus again with this one.",
        )
    return encoder


def require_dense(info: EncoderInfo | None, folder: Path) -> EncoderInfo:
    """Return the encoder that the index in `folder` records; raise InvalidError if the index is lexical only."""
    if info is None:
        raise InvalidError(f"The index {folder} is lexical only: no model made it.", "Leave `model` out.")
    return info
