"""Deterministic encoders for tests that need vectors but no model: hashed bags of words, L2-normalised."""

import re
import zlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from debater_search.progress import Progress
from debater_search.types import Document


class BareEncoder:
    """`TextEncoder` and nothing else. Texts that share words are near each other; earlier thinking steps are the last
    one, perturbed.
    """

    def __init__(self, name: str = "fake", dim: int = 64, thinking_steps: int = 3) -> None:
        self.name, self.dim, self.thinking_steps = name, dim, thinking_steps
        self.fingerprint = f"{zlib.crc32(f'{name} {dim} {thinking_steps}'.encode()):08x}" * 8
        self.recipe, self.dtype = {"model": name}, "float32"

    def encode_queries(
        self, texts: Sequence[str], *, instruction: str | None = None, progress: bool | Progress = False
    ) -> np.ndarray:
        return _normalised(self._bags(list(texts)))

    def encode_documents(self, texts: Sequence[str | Document], *, progress: bool | Progress = False) -> np.ndarray:
        return self.deliberate(texts, progress=progress)[:, -1]

    def deliberate(self, texts: Sequence[str | Document], *, progress: bool | Progress = False) -> np.ndarray:
        if isinstance(progress, Progress):
            progress.advance(len(texts))
        last = self._bags([text.content if isinstance(text, Document) else text for text in texts])
        steps = [last + 0.1 * missing * np.roll(last, missing, axis=1) for missing in range(self.thinking_steps)]
        return _normalised(np.stack(steps[::-1], axis=1))

    def deliberate_windows(
        self, windows: Iterable[Sequence[Document]], *, batch_tokens: int | None = None, progress: Progress
    ) -> Iterator[np.ndarray]:
        for window in windows:
            yield self.deliberate(window, progress=progress)

    def _bags(self, texts: list[str]) -> np.ndarray:
        bags = np.zeros((len(texts), self.dim), np.float32)
        for row, text in enumerate(texts):
            for word in text.lower().split() or ["(nothing)"]:
                bags[row, zlib.crc32(word.encode("utf-8", "replace")) % self.dim] += 1
        return bags


class FakeEncoder(BareEncoder):
    """With every optional ability, and counts of what it was asked."""

    def __init__(self, name: str = "fake", dim: int = 64, thinking_steps: int = 3) -> None:
        super().__init__(name, dim, thinking_steps)
        self.instruction, self.document_length, self.device = "", 64, "cpu"
        self.encoded = 0  # documents, over all calls
        self.batch_tokens, self.calibrations = 2048, 0
        self.instructions: list[str | None] = []

    def encode_queries(
        self, texts: Sequence[str], *, instruction: str | None = None, progress: bool | Progress = False
    ) -> np.ndarray:
        self.instructions.append(instruction)
        return super().encode_queries(texts)

    def deliberate(self, texts: Sequence[str | Document], *, progress: bool | Progress = False) -> np.ndarray:
        self.encoded += len(texts)
        return super().deliberate(texts, progress=progress)

    def deliberate_windows(
        self, windows: Iterable[Sequence[Document]], *, batch_tokens: int | None = None, progress: Progress
    ) -> Iterator[np.ndarray]:
        self.used_batch_tokens = batch_tokens
        return super().deliberate_windows(windows, progress=progress)

    def token_ids(self, texts: Sequence[str], kind: str) -> list[list[int]]:
        return [[0, *(zlib.crc32(word.encode()) for word in text.split()), 1] for text in texts]

    def token_offsets(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Words are tokens."""
        found = ([match.span() for match in re.finditer(r"\S+", text)] for text in texts)
        return [np.array(spans, np.int64).reshape(-1, 2) for spans in found]

    def calibrate(self, documents: Sequence[Document]) -> int:
        self.calibrations += 1
        return 1234


class Interrupted(FakeEncoder):
    """Stops as Ctrl-C does once it has encoded `limit` documents."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit

    def deliberate(self, texts: Sequence[str | Document], *, progress: bool = False) -> np.ndarray:
        if self.encoded >= self.limit:
            raise KeyboardInterrupt
        return super().deliberate(texts)


def _normalised(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def tiny_corpus(n: int = 25) -> list[Document]:
    """Documents d0 … with a word of their own (`unique7`), a shared one, and metadata."""
    return [
        Document(f"d{i}", f"The wing of aircraft unique{i}. Number {i} of the series flies.", f"Title {i}", {"year": i})
        for i in range(n)
    ]


class FakeScorer:
    """`PairScorer` without a model: the share of the text's words that the query has, and what it was asked."""

    def __init__(self, name: str = "fake-scorer", device: str = "cpu") -> None:
        self.name, self.dtype, self.device = name, "float32", device
        self.fingerprint = f"{zlib.crc32(name.encode()):08x}" * 8
        self.asked: list[tuple[str, str]] = []

    def score(self, query: str, texts: Sequence[str]) -> np.ndarray:
        self.asked += [(query, text) for text in texts]
        return np.array([self.of(query, text) for text in texts], np.float32)

    @staticmethod
    def of(query: str, text: str) -> float:
        words = text.lower().split()
        return 10 * sum(word in query.lower().split() for word in words) / (len(words) + 1) - 5
