"""Libraries that only some of the work needs; extras install them: `pip install debater-search[eval]`."""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from debater_search.errors import UnavailableError


def require(module: str, *, extra: str) -> Any:
    """Import and return `module`, which the extra `extra` installs.

    Raises UnavailableError, which names the extra, if the library is not installed. An installed library that fails to
    import something else raises its own ImportError.
    """
    library = module.partition(".")[0]
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != library:
            raise
        raise _missing(library, extra) from error


def require_installed(library: str, *, extra: str) -> None:
    """Raise UnavailableError, as `require`, without the seconds that importing a large library takes."""
    if find_spec(library) is None:
        raise _missing(library, extra)


def _missing(library: str, extra: str) -> UnavailableError:
    return UnavailableError(
        f"The library {library} is not installed.", f"Install it: pip install 'debater-search[{extra}]'."
    )
