"""BEIR's data sets: names, scored splits, ids, and the DEBATER paper's instructions before queries.

The instructions apply only to models that were trained with instructions.
"""

_DUPLICATES = (
    "Given a question, retrieve detailed question descriptions from Stackexchange that are duplicates to the given "
    "question:"
)
_WIKIPEDIA = "Given a question, retrieve Wikipedia passages that answer the question:"

INSTRUCTIONS = {
    "ArguAna": "Given a claim, find documents that refute the claim:",
    "ClimateFEVER": "Given a claim about climate change, retrieve documents that support or refute the claim:",
    "DBPedia": "Given a query, retrieve relevant entity descriptions from DBPedia:",
    "FEVER": "Given a claim, retrieve documents that support or refute the claim:",
    "FiQA2018": "Given a financial question, retrieve user replies that best answer the question:",
    "HotpotQA": "Given a multi-hop question, retrieve documents that can help answer the question:",
    "MSMARCO": "Given a web search query, retrieve relevant passages that answer the query:",
    "NFCorpus": "Given a question, retrieve relevant documents that best answer the question:",
    "NQ": _WIKIPEDIA,
    "QuoraRetrieval": ("Given a question, retrieve questions that are semantically equivalent to the given question:"),
    "SCIDOCS": "Given a scientific paper title, retrieve paper abstracts that are cited by the given paper:",
    "SciFact": "Given a scientific claim, retrieve documents that support or refute the claim:",
    "TRECCOVID": "Given a query on COVID-19, retrieve documents that answer the query:",
    "Touche2020": "Given a question, retrieve detailed and persuasive arguments that answer the question:",
}

BEIR = {
    "arguana": "ArguAna",
    "climate-fever": "ClimateFEVER",
    "cqadupstack": "CQADupstackRetrieval",
    "dbpedia-entity": "DBPedia",
    "fever": "FEVER",
    "fiqa": "FiQA2018",
    "hotpotqa": "HotpotQA",
    "msmarco": "MSMARCO",
    "nfcorpus": "NFCorpus",
    "nq": "NQ",
    "quora": "QuoraRetrieval",
    "scidocs": "SCIDOCS",
    "scifact": "SciFact",
    "trec-covid": "TRECCOVID",
    "webis-touche2020": "Touche2020",
}
"""BEIR's name of a set → mteb's name."""


CQADUPSTACK = (
    "android", "english", "gaming", "gis", "mathematica", "physics", "programmers", "stats", "tex", "unix",
    "webmasters", "wordpress",
)  # fmt: skip
"""The parts of CQADupstack; its score is their mean."""

QUERIES_ARE_DOCUMENTS = frozenset({"ArguAna", "FEVER", "FiQA2018", "MSMARCO", "QuoraRetrieval"})
"""Tasks in which a document with the query's own id is no answer, as in mteb."""

_PARTS = {f"cqadupstack/{part}": f"CQADupstack{part.capitalize()}Retrieval" for part in CQADUPSTACK}
_TO_MTEB = {name.lower(): name for name in BEIR.values()} | BEIR | _PARTS
_TO_BEIR = {name: beir for beir, name in (BEIR | _PARTS).items()}


def mteb_name(task: str) -> str:
    """mteb's name of a task with a BEIR name, in any case; other names are returned as they are."""
    return _TO_MTEB.get(task.lower(), task)


def ignores_identical_ids(task: str) -> bool:
    """Whether a document with the query's own id is no answer in the task of this name."""
    return mteb_name(task) in QUERIES_ARE_DOCUMENTS


def beir_name(task: str) -> str:
    """BEIR's name of a task with an mteb name; other names are returned as they are."""
    return _TO_BEIR.get(task, task)


def scored_split(task: str) -> str:
    """The split that is scored for a task with this mteb or BEIR name: dev for MSMARCO, test for the others."""
    return "dev" if mteb_name(task) == "MSMARCO" else "test"


def builtin_instruction(task: str) -> str | None:
    """The paper's instruction for a task with this mteb or BEIR name; None for other tasks."""
    name = mteb_name(task)
    return _DUPLICATES if name.startswith("CQADupstack") else INSTRUCTIONS.get(name)
