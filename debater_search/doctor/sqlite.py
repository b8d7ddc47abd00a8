"""SQLite: the documents' database needs threads, FTS5 and JSON."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing

from debater_search.doctor.finding import Asked, Facts, Finding, note, ok, problem

_OTHER_PYTHON = "Install a Python whose SQLite has it, such as that of python.org, conda or the system."
_NEEDED = {
    "FTS5": "CREATE VIRTUAL TABLE words USING fts5(text)",
    "JSON": "SELECT value FROM json_each('[1]')",
}


def gather(_: Asked) -> Iterator[Facts]:
    """The version, how it takes threads, and which abilities are missing."""
    yield {"version": sqlite3.sqlite_version, "threads": sqlite3.threadsafety}
    missing = []
    with closing(sqlite3.connect(":memory:")) as connection:
        for name, statement in _NEEDED.items():
            try:
                connection.execute(statement)
            except sqlite3.Error:
                missing.append(name)
    yield {"missing": missing}
    from debater_search.store.memory import IS_COUNTED

    yield {"counted": IS_COUNTED}


def judge(facts: Facts, _: Asked) -> Iterator[Finding]:
    """What is missing, and what makes threads wait."""
    if facts.get("missing"):
        yield problem("sqlite", f"SQLite {facts['version']} lacks {', '.join(facts['missing'])}.", _OTHER_PYTHON)
    elif "missing" in facts:
        if facts["threads"] == 0:
            yield problem("sqlite", f"SQLite {facts['version']} was built for one thread only.", _OTHER_PYTHON)
        elif facts.get("counted"):
            yield note("sqlite", f"SQLite {facts['version']} counts its memory: threads that search words wait.")
        else:
            yield ok("sqlite", f"SQLite {facts['version']}, with FTS5")
