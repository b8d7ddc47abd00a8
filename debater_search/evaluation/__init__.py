"""How well a model finds what it should: tasks, metrics by trec_eval's code, runs, and each thinking step alone."""

from debater_search.evaluation.evaluate import choose_instruction, evaluate, judged_queries, opened
from debater_search.evaluation.folders import FolderTask
from debater_search.evaluation.hub_tasks import MtebTask
from debater_search.evaluation.metrics import METRICS, Scores, score_run
from debater_search.evaluation.results import Result, read_results, scored, write_results
from debater_search.evaluation.suites import Suite, tasks_of
from debater_search.evaluation.tasks import RetrievalTask, load, load_task
from debater_search.evaluation.thinking import evaluate_steps, search_steps, step_cosines

__all__ = [
    "METRICS",
    "FolderTask",
    "MtebTask",
    "Result",
    "RetrievalTask",
    "Scores",
    "Suite",
    "choose_instruction",
    "evaluate",
    "evaluate_steps",
    "judged_queries",
    "load",
    "load_task",
    "opened",
    "read_results",
    "score_run",
    "scored",
    "search_steps",
    "step_cosines",
    "tasks_of",
    "write_results",
]
