"""One page for the results in one or several folders."""

from collections.abc import Sequence
from pathlib import Path

from debater_search.errors import DebaterError
from debater_search.evaluation.results import read_results
from debater_search.reports.evaluation import write_page

REPORT_NAME = "report.html"


def write_report(folders: Sequence[str | Path], output: str | Path | None = None) -> Path:
    """Join the results in `folders` on `report.html`, in `output` or else in the first of them; returns its path.

    Raises DebaterError for a folder without results and for files in it that are damaged.
    """
    found = {}
    for folder in dict.fromkeys(Path(folder) for folder in folders):
        found[folder] = read_results(folder)
        if not found[folder]["results"]:
            raise DebaterError(f"There are no results in {folder}.", "Name what debater eval --output wrote.")
    if not found:
        raise DebaterError("There is no folder to report on.", "Name one or more: debater eval --report results.")
    page = Path(output if output is not None else next(iter(found))) / REPORT_NAME
    write_page(found, page)
    return page
