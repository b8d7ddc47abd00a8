"""What the DEBATER paper puts before the queries of the BEIR sets, for models trained with instructions."""

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
"""BEIR's names of its sets → mteb's."""


def builtin_instruction(task: str) -> str | None:
    """The paper's instruction for a task by its mteb or BEIR name; None for any other."""
    if task.startswith("CQADupstack"):
        return _DUPLICATES
    return INSTRUCTIONS.get(BEIR.get(task, task))
