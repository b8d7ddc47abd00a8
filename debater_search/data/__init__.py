"""Readers of corpora, queries, judgements, runs and training examples: an error names file and line."""

from debater_search.data.corpus import CorpusReader, read_corpus
from debater_search.data.qrels import read_qrels
from debater_search.data.queries import read_queries
from debater_search.data.runs import read_run, read_tag, write_run
from debater_search.data.training_rows import read_training_examples
from debater_search.data.training_set import TrainingSet, open_training_set

__all__ = [
    "CorpusReader",
    "TrainingSet",
    "open_training_set",
    "read_corpus",
    "read_qrels",
    "read_queries",
    "read_run",
    "read_tag",
    "read_training_examples",
    "write_run",
]
