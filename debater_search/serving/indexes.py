"""The indexes of a server: opened with their models, renewed behind the searches."""

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

from debater_search.errors import DebaterError, InvalidError
from debater_search.indexing import Change
from debater_search.indexing.description import describe
from debater_search.search import SearchEngine
from debater_search.serving.errors import ApiError
from debater_search.serving.models import ServedModel, public_name
from debater_search.store.folders import open_manifest
from debater_search.store.manifest import IndexManifest

log = logging.getLogger(__name__)

SUGGESTED_VALUES = 50
"""Of a field, the most frequent first."""

ModelOf = Callable[[IndexManifest, Path], ServedModel | None]


class ServedIndex:
    """An index under its name. It can be searched once `renew` has opened it."""

    def __init__(self, name: str, folder: Path) -> None:
        open_manifest(folder)  # refuses what is no index, before the server listens
        self.name, self.folder = name, folder
        self.failure: DebaterError | None = None
        """Why it could not be opened, or its newest state could not."""
        self._opened: tuple[SearchEngine, ServedModel | None] | None = None
        self._renewing = Lock()
        self._reported: IndexManifest | None = None  # the state that `renew` told of last
        self._facts: tuple[IndexManifest, dict[str, Any]] | None = None

    @property
    def is_open(self) -> bool:
        """Whether it can be searched."""
        return self._opened is not None

    @property
    def opened(self) -> tuple[SearchEngine, ServedModel | None]:
        """The engine of now and its model; the 503 error before it is open."""
        if self._opened is None:
            if self.failure is not None:
                raise ApiError(503, "unavailable", f"The index {self.name} could not be opened.", "Ask its operator.")
            raise ApiError(503, "loading", f"The index {self.name} is being opened.", "Try again.", retry_after=2)
        return self._opened

    @property
    def engine(self) -> SearchEngine:
        """The engine of now; the 503 error before it is open."""
        return self.opened[0]

    @property
    def model(self) -> ServedModel | None:
        """The model of now, None for an index of words only; the 503 error before it is open."""
        return self.opened[1]

    @property
    def manifest(self) -> IndexManifest:
        """What the index is."""
        return self.engine.manifest

    def renew(self, model_of: ModelOf) -> bool:
        """Open the index, or its newest state if a change was committed; searches go on meanwhile.

        Returns whether the state is another than that of the last call: a search whose state was gone may have opened
        it in between.

        Raises:
            DebaterError: it cannot be opened; the state before is served on.

        """
        with self._renewing:
            try:
                self._renew(model_of)
            except DebaterError as error:
                self.failure = error
                raise
            self.failure = None
            before, self._reported = self._reported, self.manifest
            return self._reported is not before

    def facts(self) -> dict[str, Any]:
        """What `debater info` says, without places on disk, for the newest state."""
        manifest = self.manifest  # one object per state; a rebuilt index begins at generation 0 again
        if self._facts is None or self._facts[0] is not manifest:
            facts = describe(self.folder, SUGGESTED_VALUES)
            del facts["index"]
            if "model" in facts:
                facts["model"] = public_name(facts["model"])
            facts["corpus"] = Path(facts["corpus"]).name
            self._facts = manifest, facts
        return self._facts[1] | self.summary()

    def summary(self) -> dict[str, Any]:
        """The index in a list."""
        manifest = self.manifest
        encoder = manifest.encoder
        return {
            "name": self.name,
            "documents": manifest.corpus.documents,
            "generation": manifest.generation,
            "model": encoder and public_name(encoder.name),
            "dim": encoder and encoder.dim,
            "modes": ["dense", "lexical", "hybrid"] if encoder else ["lexical"],
        }

    def summary_of(self, change: Change) -> dict[str, Any]:
        """What a change of this index did."""
        counts = ("generation", "documents", "added", "updated", "deleted", "unchanged", "encoded", "warnings")
        return {"index": self.name} | {name: getattr(change, name) for name in counts}

    def _renew(self, model_of: ModelOf) -> None:
        if self._opened is None:
            return self._open(model_of)
        engine, model = self._opened
        try:
            engine.refresh()
        except InvalidError:
            if self.is_by_model_of(engine):
                raise
            return self._open(model_of)
        if model is None and engine.manifest.encoder is not None:
            self._open(model_of)
        return None

    def _open(self, model_of: ModelOf) -> None:
        model = model_of(open_manifest(self.folder), self.folder)
        engine = SearchEngine.open(self.folder, encoder=None if model is None else model.encoder, follow=False)
        if model is not None:
            engine.warm_up()
        self._opened = engine, model

    def is_by_model_of(self, engine: SearchEngine) -> bool:
        """Whether the index on disk is by the model of the engine; another one takes a new engine."""
        now, before = open_manifest(self.folder).encoder, engine.manifest.encoder
        return (now and now.fingerprint) == (before and before.fingerprint)


def named(folders: Sequence[str | Path]) -> dict[str, ServedIndex]:
    """Indexes by the names of their folders.

    Raises:
        DebaterError: a folder is no index, or two have one name.

    """
    found: dict[str, ServedIndex] = {}
    for folder in map(Path, folders):
        folder = Path(os.path.abspath(folder))  # messages name it, and `.` would be found in every sentence
        name = folder.resolve().name
        if name in found:
            raise InvalidError(f"Two indexes are called {name}: {found[name].folder}, {folder}.", "Rename one of them.")
        found[name] = ServedIndex(name, folder)
    if not found:
        raise InvalidError("No index was named.", "Name an index folder.")
    return found
