"""What the shell completes: names that are found in milliseconds. What is none of them, shells complete as a file."""

from pathlib import Path

INDEXES = Path("indexes")
"""Where indexes go by default."""

_SUITES = ("beir", "mteb-eng-v2")
_BEIR = (
    "arguana", "climate-fever", "cqadupstack", "dbpedia-entity", "fever", "fiqa", "hotpotqa", "msmarco", "nfcorpus",
    "nq", "quora", "scidocs", "scifact", "trec-covid", "webis-touche2020",
)  # fmt: skip
"""The keys of `evaluation.beir.BEIR`, whose package takes too long to import while somebody types."""


def index_names() -> list[str]:
    """The finished indexes where they go by default."""
    return sorted(str(manifest.parent) for manifest in INDEXES.glob("*/manifest.json"))


def model_names() -> list[str]:
    """The aliases of models."""
    from debater_search.encoder.loading.hub import ALIASES

    return list(ALIASES)


def task_names() -> list[str]:
    """The bundled collection, the folders in BEIR layout in data/, the sets of BEIR, and the suites."""
    folders = sorted(str(qrels.parent) for qrels in Path("data").glob("*/qrels"))
    return ["cranfield", *folders, *_SUITES, *(f"beir/{name}" for name in _BEIR)]
