"""SQLite's count of its memory, whose lock makes threads wait for each other."""

import subprocess
import sys

USED = """
import _sqlite3, ctypes, sqlite3
{before}
import debater_search.store.database
from debater_search.store.memory import IS_COUNTED
after = sqlite3.connect(":memory:")
after.execute("CREATE TABLE t (x)")
library = ctypes.CDLL(getattr(_sqlite3, "__file__", None))
library.sqlite3_memory_used.restype = ctypes.c_int64
print(IS_COUNTED, library.sqlite3_memory_used() > 0, {last})
"""


def run(before: str = "", last: str = "0") -> str:
    code = USED.format(before=before, last=last)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_sqlite_counts_no_memory_once_the_store_is_imported() -> None:
    assert run() == "False False 0"


def test_a_connection_that_is_open_before_stays_whole() -> None:
    before = "first = sqlite3.connect(':memory:'); first.execute('CREATE TABLE u AS SELECT 7 AS x')"
    assert run(before, "first.execute('SELECT x FROM u').fetchone()") == "True True (7,)"
