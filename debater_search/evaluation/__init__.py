"""How well a model finds what it should: tasks, metrics by trec_eval's code, runs, and looks behind the scores."""

from debater_search.evaluation.analyses import ANALYSES, analyse, choose_analyses, need_all_steps
from debater_search.evaluation.evaluate import choose_instruction, evaluate, judged_queries, opened
from debater_search.evaluation.metrics import METRICS, Scores, score_run
from debater_search.evaluation.results import Result, read_results, scored, write_results
from debater_search.evaluation.tasks import FolderTask, MtebTask, RetrievalTask, load_task
from debater_search.evaluation.thinking import evaluate_steps, search_steps, step_cosines

__all__ = [
    "ANALYSES",
    "METRICS",
    "FolderTask",
    "MtebTask",
    "Result",
    "RetrievalTask",
    "Scores",
    "analyse",
    "choose_analyses",
    "choose_instruction",
    "evaluate",
    "evaluate_steps",
    "judged_queries",
    "load_task",
    "need_all_steps",
    "opened",
    "read_results",
    "score_run",
    "scored",
    "search_steps",
    "step_cosines",
    "write_results",
]
