"""A model: does it load, are its vectors finite and independent of the batch, how many texts does it encode?"""

import time
from collections.abc import Iterator

from debater_search.doctor.finding import Asked, Facts, Finding, ok, problem

TEXTS = 64
_ALONE = 4
"""Texts that are encoded once more, each alone."""
_TOLERANCES = {"float32": 1e-4, "bfloat16": 0.05, "float16": 0.01}
"""How far a number of a vector may be from that of the same text encoded alone."""


def gather(asked: Asked) -> Iterator[Facts]:
    """Load the model and encode 64 texts, some of them again alone."""
    from debater_search.encoder.loading.hub import require_model

    assert asked.model is not None
    require_model(asked.model)
    import numpy as np

    from debater_search.encoder import Encoder

    start = time.perf_counter()
    encoder = Encoder.load(asked.model)
    yield {
        "name": encoder.name,
        "seconds": time.perf_counter() - start,
        "dim": encoder.dim,
        "steps": encoder.thinking_steps,
        "device": str(encoder.device),
        "dtype": encoder.dtype,
    }
    texts = [_text(number) for number in range(TEXTS)]
    encoder.encode_documents(texts[:8])  # what is done once only is not measured
    start = time.perf_counter()
    together = encoder.encode_documents(texts)
    yield {"rate": TEXTS / (time.perf_counter() - start)}
    queries = encoder.encode_queries(texts[:8])
    yield {"finite": bool(np.isfinite(together).all() and np.isfinite(queries).all())}
    alone = np.concatenate([encoder.encode_documents([text]) for text in texts[:_ALONE]])
    yield {"difference": float(np.abs(alone - together[:_ALONE]).max())}


def judge(facts: Facts, _: Asked) -> Iterator[Finding]:
    """Vectors that are not finite, or depend on the batch."""
    if not facts.get("finite", True):
        message = f"{facts['name']} gives vectors that are not finite in {facts['dtype']}."
        yield problem("model", message, "Load it in float32 (Encoder.load(dtype='float32')), and report the model.")
    elif "difference" in facts and not facts["difference"] <= _TOLERANCES.get(facts["dtype"], 0.05):
        message = f"A vector of {facts['name']} depends on the batch: it differs by {facts['difference']:.1e}."
        yield problem("model", message, "Try --attention eager, and report the model.")
    elif "difference" in facts:
        steps = f"{facts['steps']} step{'' if facts['steps'] == 1 else 's'}"
        yield ok(
            "model",
            f"{facts['name']}: {facts['dim']} dimensions, {steps}, {facts['dtype']} on {facts['device']}; loaded in "
            f"{facts['seconds']:.1f} s, {facts['rate']:,.0f} texts/s; finite, and independent of the batch "
            f"({facts['difference']:.0e})",
        )


def _text(number: int) -> str:
    """Texts of 8 to 104 words, the first of them the shortest."""
    return f"Document {number} is about the flow around wings. " + "The boundary layer grows thicker. " * (number % 20)
