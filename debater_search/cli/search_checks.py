"""What `debater search` refuses before a model is loaded."""

import sys
from pathlib import Path

from debater_search.errors import DebaterError


def require_one_way(
    query: str | None, like: str | None, queries: Path | None, run: Path | None, *, force: bool, as_csv: bool
) -> None:
    """Raise DebaterError unless the options say in one way what to search for and where the answer goes."""
    ways = [("QUERY", query), ("--like", like), ("--queries", queries)]
    given = [name for name, value in ways if value is not None]
    if len(given) > 1:
        raise DebaterError(f"{given[0]} and {given[1]} exclude each other.", "Give one of them.")
    if not given and sys.stdin is None:
        raise DebaterError("There is no QUERY, and standard input is closed.", "Give a QUERY, --like or --queries.")
    if queries is None and run is not None:
        raise DebaterError("--run has no effect without --queries.", "Give both: --queries FILE --run OUT.")
    if queries is not None and run is None and not as_csv:
        raise DebaterError("--queries needs --run or --csv.", "Give --run OUT for a TREC run, or --csv for hits.")
    if run is not None and run.exists() and not force:
        raise DebaterError(f"{run} exists.", "Give another --run, or --force to replace it.")
    if queries is not None:
        from debater_search.data.files import require_exists, require_writable

        require_exists(queries)
        if run is not None:
            require_writable(run)
    if query is not None:
        require_text(query)


def require_columns(
    query: str | None, like: str | None, queries: Path | None, run: Path | None, *, explain: bool, as_json: bool
) -> None:
    """Raise DebaterError for options whose answer is no table of hits."""
    for name, given in [("--json", as_json), ("--explain", explain), ("--run", run is not None)]:
        if given:
            raise DebaterError(f"--csv and {name} exclude each other.", "Give one of them.")
    if query is None and like is None and queries is None:
        raise DebaterError("--csv needs a QUERY, --like or --queries.", "For queries from a pipe: --queries -.")


def parse_weights(text: str | None) -> tuple[float, float] | None:
    """The two numbers of --weights; DebaterError if they are none."""
    if text is None:
        return None
    try:
        dense, lexical = map(float, text.split(","))
    except ValueError:
        raise DebaterError(f"--weights takes two numbers, not {text!r}.", "An example: --weights 2,1.") from None
    return dense, lexical


def require_text(query: str) -> None:
    """Raise DebaterError for a query that is empty or not UTF-8."""
    if not query.strip():
        raise DebaterError("The query is empty.", 'Say what to look for: debater search "how do wings stall".')
    try:
        query.encode("utf-8")
    except UnicodeEncodeError:
        raise DebaterError("The query is not UTF-8 text.", "Check the terminal's or the file's encoding.") from None
