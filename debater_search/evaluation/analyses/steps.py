"""Thinking steps: their scores, alone and combined, and the cosines between them."""

import numpy as np

from debater_search.encoder.protocol import TextEncoder
from debater_search.errors import InvalidError
from debater_search.evaluation.analyses.subject import DEPTH, SCORE, Finding, Subject
from debater_search.evaluation.thinking import cosines_to_last, search_steps, step_cosines


def require_steps(encoder: TextEncoder) -> None:
    """Raise DebaterError for a model with a single thinking step."""
    if encoder.thinking_steps < 2:
        raise InvalidError(
            f"{encoder.name} has only one thinking step.",
            "Analyse a model that was trained with thinking_steps of 2 or more.",
        )


def steps(subject: Subject) -> Finding:
    """The score of each thinking step alone, of a document's best step, and of the mean over its steps."""
    engine = subject.engine
    ids = [query.id for query in subject.queries]
    runs = search_steps(
        ids, subject.vectors, engine.store, DEPTH, live=engine.live, together=True, show=subject.progress
    )
    depth = len(runs) - 2
    rows = [(name, *subject.score(run)) for name, run in zip([*range(1, depth + 1), "max", "mean"], runs, strict=True)]
    first, last, best, mean = (rows[place][1] for place in (0, depth - 1, depth, depth + 1))
    note = (
        f"Step 1 scores {first:.3f}, step {depth}, which search uses, {last:.3f}; a document's best step {best:.3f}, "
        f"the mean over its steps {mean:.3f}."
    )
    return Finding("nDCG@10 of each thinking step", note, ("step", *SCORE), rows)


def cosines(subject: Subject) -> Finding:
    """The mean cosine between each two thinking steps of a document."""
    matrix = step_cosines(subject.engine.store, live=subject.engine.live)
    depth = len(matrix)
    neighbours = np.diagonal(matrix, 1)
    note = (
        f"Cosines of neighbouring steps are {neighbours.min():.4f} to {neighbours.max():.4f}; "
        f"that of the first and the last step is {matrix[0, -1]:.4f}."
    )
    rows = [(number, *row) for number, row in enumerate(matrix.tolist(), start=1)]
    return Finding("Cosine between thinking steps", note, ("step", *map(str, range(1, depth + 1))), rows)


def last(subject: Subject) -> Finding:
    """The cosine of each thinking step to the last, over the documents."""
    found = cosines_to_last(subject.engine.store, live=subject.engine.live)
    columns = np.vstack([found.mean(axis=0, dtype=np.float64), *np.quantile(found, [0.25, 0.5, 0.75], axis=0)])
    rows = [(number, *row) for number, row in enumerate(columns.T.tolist(), start=1)]
    depth = len(rows)
    note = (
        f"Step 1 has a mean cosine of {rows[0][1]:.3f} to step {depth} (quartiles {rows[0][2]:.3f} and "
        f"{rows[0][4]:.3f}); step {depth - 1} has {rows[-2][1]:.4f}."
    )
    title = "Cosine of each thinking step to the last"
    return Finding(title, note, ("step", "mean", "quartile_1", "median", "quartile_3"), rows)
