"""`debater demo`: an index of Cranfield by the model that comes along, three questions answered, and a prompt.

Needs no training, no repository and no network. A finished index of the same model is used again.
"""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from debater_search.cli.hits import show_hits
from debater_search.cli.options import DEFAULT_MODEL, load_encoder
from debater_search.cli.output import Output
from debater_search.cli.prompt import converse
from debater_search.cli.search import Search
from debater_search.data.bundled import cranfield
from debater_search.errors import DebaterError
from debater_search.progress import duration

if TYPE_CHECKING:
    from debater_search.encoder import TextEncoder
    from debater_search.search import SearchEngine

QUESTIONS = (
    "what causes heat transfer to rise at the stagnation point of a blunt body in hypersonic flow",
    "how does a propeller slipstream change the lift of a wing",
    "buckling of thin cylindrical shells under axial compression",
)


def run_demo(out: Output, output: Path, *, force: bool, device: str) -> int:
    """Index Cranfield in `output`, answer three questions, then those that a person types; returns the exit code."""
    start = time.monotonic()
    there = None if force else made_by(output)
    engine = indexed(out, load_encoder(None, None, device), output, there)
    ready = time.monotonic()
    answers = [answer(out, engine, question) for question in QUESTIONS]
    seconds = {"index": ready - start, "search": time.monotonic() - ready}
    if out.as_json:
        out.json({"model": engine.encoder.name, "index": str(output), "seconds": seconds, "answers": answers})
        return 0
    out.show(f"\nDone in {duration(sum(seconds.values()))}; the index is {output}.")
    out.next(f'debater search "your question" --index {output}', "debater index YOUR_CORPUS")
    if sys.stdin is None or not sys.stdin.isatty():
        return 0
    return converse(Search(engine, out), out)


def made_by(output: Path) -> str | None:
    """The fingerprint of the model whose index of Cranfield is in `output`; None where nothing finished is.

    Raises DebaterError if it is an index of anything else, which would be lost.
    """
    from debater_search.data import read_corpus
    from debater_search.store.corpus import corpus_fingerprint
    from debater_search.store.folders import open_manifest
    from debater_search.store.manifest import MANIFEST_NAME

    if not (output / MANIFEST_NAME).is_file():
        return None
    manifest = open_manifest(output)
    if manifest.corpus.fingerprint != corpus_fingerprint(read_corpus(cranfield())):
        raise DebaterError(
            f"{output} holds an index of {manifest.corpus.source}, not the demo's.",
            "Choose another --output, or replace it with --force.",
        )
    return manifest.encoder.fingerprint if manifest.encoder is not None else None


def indexed(out: Output, encoder: "TextEncoder", output: Path, there: str | None) -> "SearchEngine":
    """The index of Cranfield with every thinking step; built now unless `there`, as `made_by` says, is this encoder."""
    from debater_search.identity import fingerprints_of
    from debater_search.indexing import build
    from debater_search.search import SearchEngine

    if there in fingerprints_of(encoder):
        say(out, f"{output} holds the index of Cranfield by {DEFAULT_MODEL} already.")
    else:
        say(out, f"Indexing Cranfield, 1,400 abstracts on aeronautics, with {DEFAULT_MODEL}.")
        with _without_remarks():
            build(cranfield(), encoder, output, all_steps=True, force=True, progress=True)
    return SearchEngine.open(output, encoder=encoder)


@contextmanager
def _without_remarks() -> Iterator[None]:
    """Keep what is odd in the bundled documents from those who see the program for the first time."""
    logger = logging.getLogger("debater_search.indexing.documents")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def answer(out: Output, engine: "SearchEngine", question: str) -> dict[str, Any]:
    """Search, and show the best three hits with the sentence that matches."""
    hits = engine.search(question, 3)
    if not out.as_json:
        out.show(f"\n  {question}?")
        show_hits(out, engine.marks(question), hits)
    return {"query": question, "hits": [hit.as_dict() for hit in hits]}


def say(out: Output, sentence: str) -> None:
    """A line for the person who waits: on stdout, or on stderr where stdout is JSON."""
    if out.as_json:
        print(sentence.strip(), flush=True)  # stdout is stderr while a command works
    else:
        out.show(sentence)
