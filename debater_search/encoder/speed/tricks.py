"""One table of what makes encoding and training faster: trick, measured gain, guard, off switch.

Each trick leaves vectors as they are, within rounding (8-bit integers within the figures below). Those with a switch
are turned off by naming them in the environment, to find a fault or to measure: `DEBATER_OFF=linear,pruning`.
"""

import os
from dataclasses import dataclass

OFF = "DEBATER_OFF"
"""Environment variable: names of tricks to leave out, with commas between them."""


@dataclass(frozen=True)
class Trick:
    """A way to be faster, and the terms on which it is used."""

    what: str
    gain: str
    """Relative to the same work without it, with the page that has the measurement."""
    guard: str
    """When it is not used, or how it is checked before it is."""
    off: str = OFF


TRICKS = {
    "linear": Trick(
        "linear.lay_out: on a CPU, weights of linear layers are laid out once for oneDNN's kernels",
        "MiniLM 1.09 to 1.14 times (benchmarks/encode.md)",
        "the first layer must agree with PyTorch's within 1e-4 of its largest output; a copy of at most 1 GB; "
        "no gradients; weights that change are noticed",
    ),
    "light": Trick(
        "light.load_light: a few queries of a BERT or RoBERTa are encoded in NumPy, without torch",
        "`debater search QUERY` in a fresh process takes 0.12 of the processor time (benchmarks/README.md)",
        "full weights in one file, pooled by mean, first or last token, and nothing behind; the fingerprint must be "
        "the index's; up to eight queries, in a process that has not imported torch; not beside a FAISS for GPUs, "
        "which must be imported after torch",
    ),
    "frozen": Trick(
        "linear.lay_out_frozen: in training on a CPU, the frozen layers below adapters, forward and back",
        "MiniLM 1.12 times (benchmarks/train.md)",
        "as linear; both copies together at most 1 GB; layers that learn are left alone; not under FSDP",
    ),
    "pruning": Trick(
        "pruning.prune_last_layer: the last layer is computed at the pooled positions only",
        "MiniLM 1.09 to 1.13 times, a decoder 1.03 times (benchmarks/encode.md)",
        "families of a table, each in the tests; kernels that take any mask; not under FSDP, "
        "not in layers that are checkpointed in training",
    ),
    "memory": Trick(
        "memory.keep_freed_memory: freed tensors are used again; memory.return_freed_memory: they go back to the "
        "system, for training in bounded memory",
        "MiniLM 1.07 to 1.11 times, in 8-bit integers 1.47 times (benchmarks/encode.md)",
        "glibc on Linux; once per process, by the first that asks",
    ),
    "packing": Trick(
        "model.DeliberationModel: decoders under FlashAttention 2 read sequences end to end, without padding",
        "not measured",
        "FlashAttention 2 and a decoder of a table of families (attention.PACKED), each in the tests",
    ),
    "calibration": Trick(
        "pipeline.calibrate: large jobs measure which batch size is the fastest on this machine",
        "depends on the machine; sizes from 512 to 4,096 tokens differ by up to 1.33 times (benchmarks/encode.md)",
        "2,000 documents or more; a larger batch must be 1.03 times faster; not in training",
        off="the argument batch_tokens",
    ),
    "int8": Trick(
        "linear.lay_out(int8=True): on a CPU, linear layers multiply 8-bit integers",
        "MiniLM 1.2 to 1.8 times; mean cosine with float32 .998; nDCG@10 .002 to .004 lower (benchmarks/encode.md)",
        'only on request (dtype "int8"); never for queries; the kernel must agree with PyTorch\'s within 0.1',
        off="any other dtype",
    ),
}


def is_on(trick: str) -> bool:
    """Whether a trick may be used; read anew at each call."""
    assert TRICKS[trick].off == OFF, f"{trick} is not switched by {OFF}"
    return trick not in os.environ.get(OFF, "").replace(" ", "").split(",")
