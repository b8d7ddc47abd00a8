"""How well a model finds what it should: tasks, metrics by trec_eval's code, runs, and looks behind the scores."""

from debater_search.evaluation.analyses import ANALYSES, analyse, choose_analyses, need_all_steps
from debater_search.evaluation.comparison import (
    Judged,
    SavedRun,
    compare,
    find_runs,
    read_saved,
    run_name,
    run_provenance,
    save_comparisons,
)
from debater_search.evaluation.details import save_details
from debater_search.evaluation.evaluate import (
    choose_instruction,
    data_of,
    evaluate,
    judged_queries,
    model_name,
    opened,
)
from debater_search.evaluation.folders import FolderTask
from debater_search.evaluation.hub_tasks import MtebTask
from debater_search.evaluation.metrics import METRICS, Scores, score_run
from debater_search.evaluation.published import Published, published_figures
from debater_search.evaluation.report import write_report
from debater_search.evaluation.results import Result, read_results, scored, write_results
from debater_search.evaluation.suites import Suite, tasks_of
from debater_search.evaluation.tasks import RetrievalTask, load, load_task
from debater_search.evaluation.thinking import evaluate_steps, search_steps, step_cosines

__all__ = [
    "ANALYSES",
    "METRICS",
    "FolderTask",
    "Judged",
    "MtebTask",
    "Published",
    "Result",
    "RetrievalTask",
    "SavedRun",
    "Scores",
    "Suite",
    "analyse",
    "choose_analyses",
    "choose_instruction",
    "compare",
    "data_of",
    "evaluate",
    "evaluate_steps",
    "find_runs",
    "judged_queries",
    "load",
    "load_task",
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
