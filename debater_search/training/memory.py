"""An estimate of the memory that a run needs on each device, and the settings that lower it: for dry runs."""

import os
from collections.abc import Iterator
from typing import Any

import torch
from pydantic import ValidationError

from debater_search.training.adapter import linear_weights
from debater_search.training.budget import MOMENTS
from debater_search.training.settings import TrainingSettings
from debater_search.training.student import Student

FLOAT32 = 4
FOUR_BITS = 0.52
"""Bytes of a weight in 4 bits, its share of the scales included."""
ATTENTION_STATES, INNER_STATES, LORA_STATES = 4, 2, 1
"""Tensors of the hidden and of the feed-forward size that a layer keeps for a token; see benchmarks/memory.py."""
LIBRARIES = 150_000_000
"""Bytes of workspaces that libraries take."""
CHUNKS = (8192, 2048)
"""Tokens of gradient_cache that are advised: the first still fills a GPU."""
GPUS = (2, 4, 8)
"""Numbers of GPUs that machines have."""
WORTH_IT = 0.95
"""A setting is advised if it lowers the estimate to this share or less."""


def memory_of(device: torch.device, processes: int) -> int:
    """Bytes of memory that each process has: those of a GPU, or its share of the machine's."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // processes


def memory_per_device(student: Student, settings: TrainingSettings, tokens: int, processes: int) -> int:
    """An estimate, in bytes, of what training holds at its peak: weights, gradients, moments, activations, scores.

    Activations are those of one chunk where gradients are cached, of the process's share of a step's `tokens` where
    not.
    """
    tokens //= processes
    parameters = list(student.model.parameters())
    share = processes if settings.parallel == "fsdp" else 1
    weights = sum(p.numel() * p.element_size() for p in parameters) // share
    learning = sum(p.numel() for p in parameters if p.requires_grad)
    if settings.quantize is not None:
        linear = linear_weights(student.model.backbone)
        weights -= sum(round(p.numel() * (p.element_size() - FOUR_BITS)) for p in linear)
    trained = learning * (1 + MOMENTS) * FLOAT32 // share
    if student.compute.itemsize < FLOAT32:  # autocast keeps rounded copies for the time of a pass
        trained += learning * student.compute.itemsize
    config = student.model.backbone.config
    hidden, layers = int(config.hidden_size), int(config.num_hidden_layers)
    inner = int(getattr(config, "intermediate_size", None) or 4 * hidden)
    size = student.compute.itemsize
    a_layer = (ATTENTION_STATES * hidden + INNER_STATES * inner) * size  # bytes a token keeps for the backward pass
    if settings.lora is not None:
        a_layer += LORA_STATES * (hidden + inner) * size
    kept = layers * hidden * size + a_layer if settings.gradient_checkpointing else layers * a_layer
    chunk = min(settings.gradient_cache or tokens, tokens)
    documents = settings.batch_size * (1 + settings.negatives)
    views = documents * student.thinking_steps * hidden * FLOAT32 * 3  # as gathered, normalised, with gradients
    scores = settings.batch_size // processes * documents * student.thinking_steps * FLOAT32 * 3
    return LIBRARIES + weights + trained + chunk * kept + views + scores


def savings(
    student: Student, settings: TrainingSettings, tokens: int, processes: int, limit: int
) -> list[dict[str, Any]]:
    """What lowers the estimate until `limit` holds it, in the order in which to try it, as the command line takes it.

    Each comes with the estimate beside all before it. Those that leave the gradients as they are come first.
    """
    found: list[dict[str, Any]] = []
    need = memory_per_device(student, settings, tokens, processes)
    for words, change, count in _ways(settings, processes, for_gpus=student.compute.itemsize < FLOAT32):
        if need <= limit:
            break
        try:  # the settings' own rules say what goes together
            changed = TrainingSettings.model_validate(settings.model_dump(exclude_unset=True) | change)
        except ValidationError:
            continue
        of_step = tokens * changed.batch_size // settings.batch_size
        less = memory_per_device(student, changed, of_step, count)
        if less <= WORTH_IT * need:
            settings, tokens, need = changed, of_step, less
            found.append({"setting": words, "memory_per_device": need})
    return found


def _ways(settings: TrainingSettings, processes: int, *, for_gpus: bool) -> Iterator[tuple[str, dict[str, Any], int]]:
    """What to write, what it changes of the settings, and the processes it takes.

    16 bits mean GPUs, also where a run is only planned on a CPU.
    """
    yield f"gradient_cache={CHUNKS[0]}", {"gradient_cache": CHUNKS[0]}, processes
    yield "gradient_checkpointing=true", {"gradient_checkpointing": True}, processes
    yield f"gradient_cache={CHUNKS[1]}", {"gradient_cache": CHUNKS[1]}, processes
    if (half := settings.batch_size // 2) >= processes:
        yield f"batch_size={half}", {"batch_size": half}, processes
    if not for_gpus:
        return
    yield "quantize=4bit", {"quantize": "4bit"}, processes
    for count in (count for count in GPUS if processes < count <= settings.batch_size):
        yield f"parallel=fsdp --processes {count}", {"parallel": "fsdp"}, count
