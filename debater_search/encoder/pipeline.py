"""Windows of texts on their way through the model: tokenized a window ahead, each text once, in batches that fit."""

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from debater_search.encoder.batching import longest_first, rows_within
from debater_search.encoder.spec import EncoderSpec
from debater_search.encoder.speed.hardware import BATCHES_TO_TRY
from debater_search.errors import UnavailableError
from debater_search.progress import Progress
from debater_search.progress import progress as progress_line

log = logging.getLogger(__name__)

WINDOW = 8192
"""Texts tokenized and sorted at a time: memory is bounded however many are given."""
MANY = 64
"""Texts from which on preparing the model pays."""
CALIBRATION_SECONDS = 2.0
CALIBRATION_ROUNDS = 5
WORTH_IT = 1.03
"""A larger batch must be this much faster than a smaller one, which pads less and needs less memory."""


class Reader(Protocol):
    """A model as the pipeline needs it: texts → token ids → views."""

    spec: EncoderSpec
    device: torch.device

    @property
    def dim(self) -> int:
        """Length of a vector; views may be longer and are cut to it."""

    def token_ids(self, texts: Sequence[str], kind: str, instruction: str | None = None) -> list[list[int]]:
        """Token ids of texts of `kind`, cut to the model's lengths."""

    def views(self, sequences: Sequence[Sequence[int]], kind: str) -> Tensor:
        """One forward pass: token ids → unnormalised views, float32 [n, views, D]."""

    def expect_many(self) -> None:
        """Prepare for many texts."""


def encode_all(
    reader: Reader,
    texts: Sequence[str],
    kind: str,
    batch_tokens: int,
    progress: bool | Progress,
    instruction: str | None = None,
) -> np.ndarray:
    """Views of texts of `kind`, float32 [n, views, dim]; `progress` shows a line, or advances one that is shown."""
    out = np.empty((len(texts), reader.spec.reading(kind).views, reader.dim), dtype=np.float32)
    label, unit = ("Encoding queries", "queries") if kind == "query" else ("Encoding", "documents")
    shown = nullcontext(progress) if isinstance(progress, Progress) else None
    with shown or progress_line(label, len(texts), unit, enabled=bool(progress)) as bar:
        starts = range(0, len(texts), WINDOW)
        windows = (texts[start : start + WINDOW] for start in starts)
        encoded = Pipeline(reader, kind, batch_tokens, bar, instruction).run(windows)
        for start, views in zip(starts, encoded, strict=True):
            out[start : start + len(views)] = views
    return out


@dataclass(frozen=True)
class Window:
    """Texts ready for the model: token ids of each different text, and which of them each text is."""

    sequences: list[list[int]]
    which: np.ndarray


class Pipeline:
    """Encodes windows of texts one after another; a batch size lowered for one window holds for the next ones too."""

    def __init__(
        self, reader: Reader, kind: str, batch_tokens: int, bar: Progress, instruction: str | None = None
    ) -> None:
        self._reader, self._kind, self._instruction = reader, kind, instruction
        self._budget, self._bar = batch_tokens, bar

    def run(self, windows: Iterable[Sequence[str]]) -> Iterator[np.ndarray]:
        """L2-normalised views of each window's texts, float32 [n, views, dim], in order.

        Raises:
            UnavailableError: a single text needs more memory than the device has.
        """
        coming = iter(windows)
        with ThreadPoolExecutor(1, thread_name_prefix="tokenize") as thread:
            ahead = thread.submit(self._tokenize_next, coming)
            while (window := ahead.result()) is not None:
                if len(window.sequences) >= MANY:
                    self._reader.expect_many()
                ahead = thread.submit(self._tokenize_next, coming)
                yield self._encode(window)

    def _tokenize_next(self, windows: Iterator[Sequence[str]]) -> Window | None:
        texts = next(windows, None)
        if texts is None:
            return None
        different = {text: number for number, text in enumerate(dict.fromkeys(texts))}
        sequences = self._reader.token_ids(list(different), self._kind, self._instruction)
        return Window(sequences, np.array([different[text] for text in texts], dtype=np.int64))

    @torch.inference_mode()
    def _encode(self, window: Window) -> np.ndarray:
        lengths = [len(sequence) for sequence in window.sequences]
        texts_of = np.bincount(window.which, minlength=len(lengths))
        spec = self._reader.spec
        views = spec.reading(self._kind).views
        limit = spec.query_length if self._kind == "query" else spec.document_length
        out = np.empty((len(lengths), views, self._reader.dim), dtype=np.float32)
        order = longest_first(lengths)
        while order:
            rows = order[: rows_within(self._budget, lengths[order[0]])]
            try:
                computed = self._reader.views([window.sequences[row] for row in rows], self._kind)
                out[rows] = normalize(computed[..., : self._reader.dim], dim=-1).cpu().numpy()
            except torch.OutOfMemoryError:
                fits = False
            else:
                fits = True
            if not fits:  # outside the handler: its traceback holds what the forward pass had computed
                self._take_less(len(rows), lengths[order[0]])
                continue
            order = order[len(rows) :]
            self._bar.advance(
                int(texts_of[rows].sum()),
                tokens=sum(lengths[row] for row in rows),
                padded=len(rows) * lengths[rows[0]],
                filled=sum(int(texts_of[row]) for row in rows if lengths[row] >= limit),
            )
        return out if len(out) == len(window.which) else out[window.which]

    def _take_less(self, rows: int, longest: int) -> None:
        where = self._reader.device
        if rows == 1:
            raise UnavailableError(
                f"A text of {longest} tokens needs more memory than {where} has.",
                "Use a smaller max_length, another device, or free memory on this one.",
            )
        self._budget = rows * longest // 2
        log.warning("Out of memory on %s: continuing with batches of %s tokens.", where, f"{self._budget:,}")
        if where.type == "cuda":
            torch.cuda.empty_cache()


@torch.inference_mode()
def calibrate(reader: Reader, documents: Sequence[list[int]]) -> int:
    """The batch size, in padded tokens, at which the model encodes documents of the typical length fastest.

    Real forward passes, the sizes in turn and several times over, smallest first, until the time is up.
    """
    typical = sorted(documents, key=len)[len(documents) // 2]
    sizes = BATCHES_TO_TRY[reader.device.type]
    best = dict.fromkeys(sizes, float("inf"))  # seconds a token
    reader.views([typical], "document")
    begin = time.perf_counter()
    for _ in range(CALIBRATION_ROUNDS):
        for size in sizes:
            if time.perf_counter() - begin > CALIBRATION_SECONDS:
                break
            rows = rows_within(size, len(typical))
            start = time.perf_counter()
            try:
                reader.views([typical] * rows, "document").cpu()
            except torch.OutOfMemoryError:
                break
            best[size] = min(best[size], (time.perf_counter() - start) / (rows * len(typical)))
    chosen = sizes[0]
    for size in sizes[1:]:
        if best[size] * WORTH_IT < best[chosen]:
            chosen = size
    return chosen
