"""How well a model finds what it should: tasks, metrics by trec_eval's code, runs, and each thinking step alone."""

from debater_search.evaluation.evaluate import Result, choose_instruction, evaluate, judged_queries, opened, scored
from debater_search.evaluation.metrics import METRICS, Scores, score_run
from debater_search.evaluation.tasks import FolderTask, MtebTask, RetrievalTask, load_task
from debater_search.evaluation.thinking import evaluate_steps, search_steps, step_cosines

__all__ = [
    "METRICS",
    "FolderTask",
    "MtebTask",
    "Result",
    "RetrievalTask",
    "Scores",
    "choose_instruction",
    "evaluate",
    "evaluate_steps",
    "judged_queries",
    "load_task",
    "opened",
    "score_run",
    "scored",
    "search_steps",
    "step_cosines",
]
