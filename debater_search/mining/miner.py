"""Mine: search for every question, choose its negatives, write a training row, a block of questions at a time."""

import json
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from debater_search.data.files import require_writable, write_lines
from debater_search.encoder.protocol import PairScorer
from debater_search.errors import InvalidError
from debater_search.indexing import build
from debater_search.mining.candidates import Candidates, Places, open_candidates
from debater_search.mining.questions import Question, fingerprint, read_questions
from debater_search.mining.report import Summary, as_markdown, summarise
from debater_search.mining.selection import select
from debater_search.mining.settings import MiningSettings
from debater_search.mining.teacher import TaughtCandidates
from debater_search.mining.work import Job, Work, alone_at
from debater_search.progress import progress as progress_line
from debater_search.search import SearchEngine
from debater_search.search.reorder.rerank import depth_for
from debater_search.search.request import require_rerank_depth

logger = logging.getLogger(__name__)

BLOCK = 256
"""Questions searched for together, and the most work that a kill costs."""

SCORE_DIGITS = 6


def mine(
    source: str | Path,
    output: str | Path,
    settings: MiningSettings | None = None,
    *,
    engine: SearchEngine | None = None,
    corpus: str | Path | None = None,
    split: str = "train",
    rerank: PairScorer | None = None,
    force: bool = False,
    progress: bool = False,
) -> Summary:
    """Write hard negatives for the questions of `source` to `output`, and a report for people beside it (.md).

    `source` is a training file, a BEIR folder with judgements of `split`, or judgements of hits of that index or
    corpus. Negatives come from the index that
    `engine` has open, or in lexical mode from a `corpus`, of which only the words are indexed. A row is `query`, and
    lists `positive`, `negative`, `positive_scores`, `negative_scores`. With `rerank`, a `Reranker` is the teacher: it
    scores positives and the first `settings.rerank_depth` documents of the window, and the rules compare its scores.
    Killed and called again with the same arguments, it goes on, and ends in the same bytes. `force` replaces a finished
    output when the new one is complete.

    Raises:
        DebaterError: the source is bad or has no positives; the output is taken; the index has no embeddings for dense
            mode; the window begins beyond the corpus; unfinished work of other arguments is at the output, or another
            process is at work there.

    Examples:
        >>> from debater_search.mining import MiningSettings, mine
        >>> settings = MiningSettings(negatives=1, window=(1, 3), max_share=1.0)
        >>> mine("train.jsonl", "mined/train.jsonl", settings, engine=engine).rows
        4
    """
    output, settings = Path(output), settings or MiningSettings()
    require_rerank_depth(settings.rerank_depth, reranks=rerank is not None)
    if rerank is not None:
        settings = replace(settings, rerank_depth=depth_for(rerank, settings.rerank_depth))
    check_output(output, source, force=force)
    if (engine is None) == (corpus is None):
        raise InvalidError("Negatives come from either an index or a corpus.", "Give one of the two.")
    if corpus is not None and settings.mode != "lexical":
        raise InvalidError(
            "Without an index, negatives are found by words only.",
            "Set `mode` to lexical, or build an index of the corpus and name it as `index`.",
        )
    questions = read_questions(source, split, engine.folder if engine is not None else corpus)
    with alone_at(output), TemporaryDirectory(prefix="debater-mine-") as scratch:
        check_output(output, source, force=force)  # another process may just have finished it
        if corpus is not None:
            engine = SearchEngine.open(build(corpus, None, Path(scratch) / "corpus", progress=progress).folder)
        assert engine is not None
        if settings.mode == "dense":
            engine.warm_up()  # what is wrong with the model is said before the documents are read
        work = Work(output, _job(questions, engine, settings, rerank), force=force)
        places = Places(keep=work.folder, scratch=Path(scratch))
        candidates = open_candidates(engine, questions, settings, places, show=progress)
        if rerank is not None:
            candidates = TaughtCandidates(candidates, rerank, settings)
        _mine_all(questions, candidates, settings, work, show=progress)
        if corpus is not None:
            engine.close()
        summary = summarise(work.rows, work.state.dropped, output, seed=settings.seed)
        write_lines(
            summary.report, as_markdown(summary, _described(source, split, engine, settings, rerank)).splitlines()
        )
        work.finish()
    return summary


def check_output(output: str | Path, source: str | Path, *, force: bool = False) -> None:
    """Make sure that the output may be written; quick, so that it can come before a model is loaded.

    Raises:
        DebaterError: it is no .jsonl, is the source itself, exists (without `force`), or cannot be written to.

    Examples:
        >>> from debater_search.mining import check_output
        >>> check_output("mined/train.jsonl", "train.jsonl")  # free
    """
    output = Path(output)
    if output.suffix != ".jsonl":
        raise InvalidError(f"{output} does not end in .jsonl.", "Training data is written as JSON lines.")
    if output.resolve() == Path(source).resolve():
        raise InvalidError(f"{output} is the file that negatives are mined for.", "Choose another `output`.")
    require_writable(output)
    if output.is_dir():
        raise InvalidError(f"{output} is a folder.", "Choose another `output`.")
    if output.exists() and not force:
        raise InvalidError(f"{output} exists.", "Choose another `output`, or replace it with `force`.")


def _job(
    questions: Sequence[Question], engine: SearchEngine, settings: MiningSettings, rerank: PairScorer | None
) -> Job:
    return Job(
        questions=fingerprint(questions),
        corpus=engine.manifest.corpus.fingerprint,
        encoder=engine.encoder.fingerprint if settings.mode == "dense" else None,
        reranker=None if rerank is None else rerank.fingerprint,
        settings=json.loads(json.dumps(asdict(settings))),  # as the state file gives them back
    )


def _mine_all(
    questions: Sequence[Question], candidates: Candidates, settings: MiningSettings, work: Work, *, show: bool
) -> None:
    done = work.state.rows
    if done:
        logger.info("%s of %s queries were mined by an earlier run.", f"{done:,}", f"{len(questions):,}")
    with progress_line("Mining", len(questions), "queries", enabled=show) as bar:
        bar.resume_at(done)
        for start in range(done, len(questions), BLOCK):
            block = questions[start : start + BLOCK]
            work.append(*_mined(block, candidates, settings))
            bar.advance(len(block))


def _mined(
    questions: Sequence[Question], candidates: Candidates, settings: MiningSettings
) -> tuple[list[str], Counter[str]]:
    """The rows of a block, and what each rule dropped."""
    found = candidates.search(questions)
    selections = [
        select(question, ranking, positive_scores, candidates.texts, settings)
        for question, (ranking, positive_scores) in zip(questions, found, strict=True)
    ]
    chosen = sorted({position for selection in selections for position, _ in selection.negatives})
    texts = {
        position: document.content for position, document in zip(chosen, candidates.documents.read(chosen), strict=True)
    }
    rows = [
        {
            "query": question.query,
            "positive": question.positives,
            "negative": [texts[position] for position, _ in selection.negatives],
            "positive_scores": [round(score, SCORE_DIGITS) for score in positive_scores],
            "negative_scores": [round(score, SCORE_DIGITS) for _, score in selection.negatives],
        }
        for question, selection, (_, positive_scores) in zip(questions, selections, found, strict=True)
    ]
    dropped = sum((selection.dropped for selection in selections), Counter())
    return [json.dumps(row, ensure_ascii=False) for row in rows], dropped


def _described(
    source: str | Path, split: str, engine: SearchEngine, settings: MiningSettings, rerank: PairScorer | None
) -> dict[str, str]:
    """What the report says of how the rows were made."""
    made_by = engine.manifest.encoder
    first, last = settings.window
    choice = "the best" if settings.choice == "top" else f"at random (seed {settings.seed})"
    described = {
        "queries of": f"{source} ({split})" if Path(source).is_dir() else str(source),
        "negatives from": f"{engine.manifest.corpus.source}, {engine.manifest.corpus.documents:,} documents",
        "scores": made_by.name if settings.mode == "dense" and made_by else "BM25",
        "ranks": f"{first:,} to {last:,}",
        "negatives of a query": f"{settings.negatives}, {choice}",
    }
    if rerank is not None:
        described["search"] = described["scores"]
        described["scores"] = f"{rerank.name}, which read {settings.rerank_depth} documents of a query"
    if settings.margin is not None:
        described["margin to the positive"] = f"{settings.margin:g}"
    if settings.share is not None:
        described["largest share of the positive's score"] = f"{settings.share:g}"
    return described
