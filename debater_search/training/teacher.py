"""The teacher that is at hand without labels: the model as it is before training, and BM25 beside it.

A small encoder that was trained on a billion pairs knows what texts mean, and overlooks rare words; a search by both is
better than either (benchmarks/hybrid.md). What both say of a batch can be taught to the student's one vector.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from debater_search.encoder import Encoder
from debater_search.training.batches import Batch, TrainingData
from debater_search.training.chunks import Text
from debater_search.training.kept import KeptVectors
from debater_search.training.steps import cut_documents, tokenized, vectors

K1, B = 1.5, 0.75
"""BM25's usual constants: how soon repeated words stop to count, and how much a long text is held against."""
COUNTED_ROWS = 20_000
"""Rows whose positives the document frequencies are counted over."""


class BaseTeacher:
    """Vectors whose dot product is cosine + weight x BM25, BM25 as a share of what a perfect match would score.

    The weight is each query's own (`Labels.lexical`). Words are those of a query without its instruction, and other
    encoders read it so, behind their own prompt; the model that is trained reads the instruction.
    """

    def __init__(
        self,
        base: Encoder,
        document_length: int,
        texts: Sequence[str] = (),
        *,
        others: Sequence[tuple[Encoder, float]] = (),
        instructed: bool = True,
        cached: bool = False,
    ) -> None:
        """`texts` are what words are counted over; without any, words do not count.

        `others` are encoders whose cosines are added, with the weight of each. `instructed` says that `base` is the
        model that is trained, and reads what stands before its queries. `cached` keeps vectors on disk.
        """
        self.base, self.document_length, self.knows_words = base, document_length, bool(texts)
        self.instructed = instructed
        self._models = [(base, 1.0), *others]
        self._kept = [KeptVectors(encoder, document_length) if cached else None for encoder, _ in self._models]
        for encoder, _ in self._models:
            encoder.expect_many()
        if self.knows_words:
            self.idf, self.usual_length = self._counted(texts)

    def reads(self, batch: Batch) -> tuple[Text, ...]:
        """The batch's texts as the teacher reads them: queries, positives, negatives."""
        return tokenized(self.base, self._as_read(0, batch), self.document_length)

    def labelled(self, batch: Batch) -> Batch:
        """The batch with the teachers' vectors among its labels: base, words if they count, the others."""
        count = len(batch.queries)
        parts = [self._vectors(number, batch) * weight**0.5 for number, (_, weight) in enumerate(self._models)]
        queries, documents = [part[:count] for part in parts], [part[count:] for part in parts]
        if self.knows_words and batch.labels.lexical is not None:
            questions = self.base.token_ids(batch.questions, "query", instruction="")
            asked, held = self.words_asked(questions), self.words_held([text.ids for text in batch.targets[count:]])
            queries.insert(1, batch.labels.lexical[:, None] * asked.to(queries[0].device))
            documents.insert(1, held.to(documents[0].device))
        labels = replace(
            batch.labels,
            teacher_queries=torch.cat(queries, 1),
            teacher_documents=torch.cat(documents, 1),
            teacher_sizes=torch.tensor([part.shape[1] for part in queries]),
        )
        return replace(batch, labels=labels)

    def _vectors(self, number: int, batch: Batch) -> Tensor:
        """Vectors of a batch's queries, positives and negatives by one of the models, length 1."""
        encoder, kept = self._models[number][0], self._kept[number]
        read = self._as_read(number, batch)

        def encode(texts: Batch) -> Tensor:
            ready = number == 0 and texts is read
            return vectors(encoder, batch.targets if ready else tokenized(encoder, texts, self.document_length))

        return encode(read) if kept is None else kept.of(read, encode).to(self.base.device)

    def _as_read(self, number: int, batch: Batch) -> Batch:
        """A batch as one of the models reads it: bare questions behind its own prompt, unless it is the one trained."""
        if number == 0 and self.instructed:
            return batch
        return replace(batch, queries=batch.questions, query_prompts=())

    def words_asked(self, queries: Sequence[Sequence[int]]) -> Tensor:
        """Weight of each word of each query, as a share of the query's: [queries, vocabulary]."""
        weights = (self._counts(queries) > 0) * self.idf
        return weights / weights.sum(1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)

    def words_held(self, documents: Sequence[Sequence[int]]) -> Tensor:
        """How much of each word a document holds, saturating at 1: [documents, vocabulary]."""
        counts = self._counts(documents)
        lengths = torch.tensor([len(ids) for ids in documents])[:, None]
        return counts / (counts + K1 * (1 - B + B * lengths / self.usual_length))

    def _counts(self, texts: Sequence[Sequence[int]]) -> Tensor:
        counts = torch.zeros(len(texts), len(self.idf))
        for row, ids in zip(counts, texts, strict=True):
            row += torch.bincount(torch.tensor(ids, dtype=torch.long), minlength=len(row))
        return counts

    def _counted(self, texts: Iterable[str]) -> tuple[Tensor, float]:
        """Inverse document frequency of every token (0 of special ones), and the usual length of a text."""
        rows = cut_documents(self.base, list(dict.fromkeys(texts)), self.document_length)
        found = torch.zeros(self.base.model.backbone.get_input_embeddings().weight.shape[0])
        for row in rows:
            found[list(set(row))] += 1
        idf = torch.log(1 + (len(rows) - found + 0.5) / (found + 0.5))
        template = self.base.spec.template
        for token in {*template.prefix, *template.query_suffix, *template.document_suffix}:
            idf[self.base.tokenizer.token_to_id(token)] = 0
        return idf, max(1.0, sum(map(len, rows)) / max(1, len(rows)))


def texts_to_count(data: TrainingData, seed: int) -> list[str]:
    """Positives of rows drawn from all sets, for the document frequencies."""
    bounds = np.cumsum([0, *(len(rows) for rows in data.sets)])
    drawn = np.random.default_rng([seed, 3]).permutation(data.examples)[:COUNTED_ROWS]
    chosen = np.searchsorted(bounds, drawn, side="right") - 1
    return [data.sets[n].example(int(row - bounds[n])).positive for n, row in zip(chosen, drawn, strict=True)]
