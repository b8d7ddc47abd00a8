"""SQLite's count of the memory it uses, switched off: its lock would let only one thread search words at a time.

SQLite takes the setting only while it is shut down, so it is made when this module is first imported, and only where
nothing in the process uses SQLite yet. Where it cannot be made, searches give the same and threads wait more.
"""

import _sqlite3
import ctypes

_MEMSTATUS = 9  # SQLITE_CONFIG_MEMSTATUS of sqlite3.h


def _stop_counting() -> bool:
    try:
        # The module's own library, or the process where Python holds the module itself; it also finds what it links to.
        library = ctypes.CDLL(getattr(_sqlite3, "__file__", None))
        library.sqlite3_memory_used.restype = ctypes.c_int64
        if library.sqlite3_memory_used():
            return False
        library.sqlite3_shutdown()
        taken: int = library.sqlite3_config(_MEMSTATUS, 0)
        library.sqlite3_initialize()
    except (AttributeError, OSError):
        return False
    return taken == 0


IS_COUNTED = not _stop_counting()
"""Whether SQLite still counts its memory in this process."""
