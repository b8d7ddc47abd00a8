"""Evaluation of retrieval: tasks, campaigns, metrics by trec_eval's code, comparisons, analyses, reports."""

from debater_search.evaluation.analyses import ANALYSES, analyse, choose_analyses, need_all_steps
from debater_search.evaluation.campaign import Campaign, TaskResults, missing_tasks
from debater_search.evaluation.comparison import COMPARED, Judged, compare, save_comparisons
from debater_search.evaluation.details import save_details
from debater_search.evaluation.evaluate import (
    choose_instruction,
    data_of,
    evaluate,
    judged_queries,
    model_name,
)
from debater_search.evaluation.folders import FolderTask
from debater_search.evaluation.hub_tasks import MtebTask
from debater_search.evaluation.metrics import METRICS, Scores, score_run
from debater_search.evaluation.opening import opened
from debater_search.evaluation.published import Published, published_figures
from debater_search.evaluation.report import write_report
from debater_search.evaluation.restoring import load_results
from debater_search.evaluation.results import Result, read_results, scored, write_results
from debater_search.evaluation.runs import (
    SavedRun,
    evaluate_run,
    find_runs,
    judged_by_file,
    read_saved,
    run_name,
    run_provenance,
)
from debater_search.evaluation.suites import Suite, SuiteMean, tasks_of
from debater_search.evaluation.task_cache import CachedTask
from debater_search.evaluation.tasks import RetrievalTask, load, load_task
from debater_search.evaluation.thinking import evaluate_steps, search_steps, step_cosines

__all__ = [
    "ANALYSES",
    "COMPARED",
    "METRICS",
    "CachedTask",
    "Campaign",
    "FolderTask",
    "Judged",
    "MtebTask",
    "Published",
    "Result",
    "RetrievalTask",
    "SavedRun",
    "Scores",
    "Suite",
    "SuiteMean",
    "TaskResults",
    "analyse",
    "choose_analyses",
    "choose_instruction",
    "compare",
    "data_of",
    "evaluate",
    "evaluate_run",
    "evaluate_steps",
    "find_runs",
    "judged_by_file",
    "judged_queries",
    "load",
    "load_results",
    "load_task",
    "missing_tasks",
    "model_name",
    "need_all_steps",
    "opened",
    "published_figures",
    "read_results",
    "read_saved",
    "run_name",
    "run_provenance",
    "save_comparisons",
    "save_details",
    "score_run",
    "scored",
    "search_steps",
    "step_cosines",
    "tasks_of",
    "write_report",
    "write_results",
]


def __dir__() -> list[str]:
    return sorted(__all__)
