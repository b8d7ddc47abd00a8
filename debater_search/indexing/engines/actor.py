"""What a worker on a Ray cluster does: load the model once, then make shards. It knows nothing of Ray."""

import io
import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from debater_search.encoder.protocol import TextEncoder
from debater_search.errors import DebaterError
from debater_search.indexing.tasks import EncodingTask, compute, require_model_of, writer_of
from debater_search.progress import Progress
from debater_search.store.shard import write_shard

logger = logging.getLogger(__name__)

_CARRIED = 256_000_000
"""Bytes of a model folder that travel to the actors; a larger one must be on a disk that all machines share."""


class EncodingActor:
    """Loads the model once, then makes a shard per call."""

    def __init__(self, job: dict[str, Any], files: dict[str, bytes] | None, load: Callable[..., TextEncoder]) -> None:
        os.environ.update(job["endpoint"])
        with tempfile.TemporaryDirectory(prefix="model-") as folder:
            model = dict(job["model"])
            for name, content in (files or {}).items():
                path = Path(folder, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
                model["model"] = folder
            self._encoder = load(**model)
        require_model_of(job, self._encoder)
        self._job = job
        self._writer = writer_of(job) if job["place"] is not None else None

    def ready(self) -> None:
        """Answer, which Ray lets an actor do when it has loaded the model."""

    def encode(self, task: dict[str, Any]) -> dict[str, Any]:
        """Make one shard; an error of ours travels as plain data."""
        try:
            return self._made(EncodingTask(**task))
        except DebaterError as error:
            return {"error": [error.kind, error.message, error.hint]}

    def _made(self, task: EncodingTask) -> dict[str, Any]:
        job = self._job
        hidden = Progress("Encoding", None, "documents", enabled=False)
        ((_, steps),) = compute([task], self._encoder, job["batch_tokens"], hidden)
        vectors = steps if job["thinking_steps"] else steps[:, -1]
        if self._writer is not None:
            shard = self._writer.write(task.number, task.ids, vectors)
            return {"shard": shard.model_dump(), "filled": hidden.filled}
        made = io.BytesIO()
        sha256 = write_shard(made, task.ids, vectors, job["stored_as"])
        return {"bytes": made.getvalue(), "sha256": sha256, "filled": hidden.filled}


def carried(model: str) -> dict[str, bytes] | None:
    """The files of a model folder that is small enough to travel; None for a name that every machine resolves."""
    folder = Path(model)
    if not folder.is_dir():
        return None
    files = [path for path in folder.rglob("*") if path.is_file()]
    if sum(path.stat().st_size for path in files) > _CARRIED:
        logger.info("The model %s is read from its path: all machines must share that disk.", folder)
        return None
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
