"""One process of several on this machine: `python -m debater_search.training.worker FOLDER`, started by `launch`."""

import json
import logging
import os
import sys
import threading
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

from debater_search.errors import DebaterError

FAILED, INTERRUPTED = 1, 130


def main(folder: Path) -> int:
    """Do the job in `folder`; what goes wrong is left there for the process that started this one."""
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    rank = os.environ["RANK"]
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # libraries' advice to their programmers
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    logging.getLogger("debater_search").setLevel(logging.WARNING if rank == "0" else logging.CRITICAL)
    logging.getLogger("debater_search.training").setLevel(logging.INFO if rank == "0" else logging.CRITICAL)
    for said_before in ("data", "training.checkpoints"):  # by the process that started this one
        logging.getLogger(f"debater_search.{said_before}").setLevel(logging.ERROR)
    try:
        from debater_search.training.settings import TrainingSettings
        from debater_search.training.trainer import train

        job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
        settings = TrainingSettings.model_validate(job.pop("config"))
        train(settings, **job)
    except KeyboardInterrupt:
        return INTERRUPTED
    except DebaterError as error:
        return _tell(folder, rank, {"kind": error.kind, "message": error.message, "hint": error.hint})
    except OSError as error:
        return _tell(folder, rank, {"os_error": [error.errno, error.strerror or str(error), error.filename]})
    except BaseException as error:
        if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch's own
            return _tell(folder, rank, {"memory": str(error)})
        return _tell(folder, rank, {"traceback": traceback.format_exc()})
    return 0


def _tell(folder: Path, rank: str, error: dict[str, Any]) -> int:
    unfinished = folder / f"error-{rank}.tmp"
    unfinished.write_text(json.dumps(error), encoding="utf-8")
    unfinished.replace(folder / f"error-{rank}.json")
    return FAILED


def _end_with(parent: int) -> None:
    """End when the process that started this one is gone: nobody would be told of what it does."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(FAILED)


if __name__ == "__main__":
    code = main(Path(sys.argv[1]))
    sys.stderr.flush()
    os._exit(code)  # a group whose peers are gone would wait for them in its destructors
