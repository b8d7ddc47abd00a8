"""Training steps beside sentence-transformers' trainer: `python benchmarks/train.py [--case minilm] [--rounds 3]`.

Same model, rows, global batch, lengths, optimizer, number type and loss family (in-batch and hard negatives, scale 20);
all weights are trained. Every run is a fresh process; runs of both programs alternate and medians are compared. The
speed is that of tokens that are not padding. The machine's own fp32 matrix product is measured in the same run.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FILES = [ROOT / "data" / "train" / f"{name}.jsonl.gz" for name in ("medquad", "pubmedqa", "scifact")]
SKIPPED = 1  # first steps, in which allocators and caches fill
CASES = {
    "minilm": {"length": 128, "query": 64, "batch": 64, "chunk": 4096, "mini_batch": 32, "steps": 4},
    "decoder": {"length": 128, "query": 32, "batch": 16, "chunk": 2048, "mini_batch": 16, "steps": 3},
}
DECODER = {  # SmolLM2-135M's shape, with random weights
    "model_type": "llama", "hidden_size": 576, "num_hidden_layers": 30, "intermediate_size": 1536,
    "num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": 49152, "tie_word_embeddings": True,
    "max_position_embeddings": 8192, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip


def rows(count: int) -> list[dict[str, Any]]:
    """The same mixed-length rows for both programs."""
    from debater_search.data import read_training_examples

    sets = [list(read_training_examples(path)) for path in FILES]
    mixed = [example for trio in zip(*sets, strict=False) for example in trio if example.negatives]
    return [{"query": e.query, "positive": e.positive, "negative": e.negatives[0]} for e in mixed[:count]]


def model_folder(case: str, folder: Path) -> str:
    if case == "minilm":
        from debater_search.encoder.loading.hub import locate

        return str(locate("minilm").folder)
    import torch
    from transformers import AutoModel

    from debater_search.encoder.families import native_config

    target = folder / "decoder"
    if not target.exists():
        torch.manual_seed(0)
        AutoModel.from_config(native_config(DECODER)).save_pretrained(target)
        make_tokenizer(target)
    return str(target)


def make_tokenizer(folder: Path) -> None:
    """Byte-pair encoding learnt from the rows themselves: as many tokens a text as a real vocabulary makes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<pad>", "<s>", "</s>"]
    trainer = trainers.BpeTrainer(vocab_size=16000, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator((row["positive"] for row in rows(2000)), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 2)])
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<pad>", "eos_token": "</s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def ours(model: str, case: dict[str, int], folder: Path, *, cached: bool, profile: bool = False) -> dict[str, Any]:
    from debater_search.training import train
    from debater_search.training.settings import TrainingSettings

    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows(case["batch"] * case["steps"])))
    settings = TrainingSettings.model_validate(
        {
            "model": model,
            "thinking_steps": 1,
            "data": [{"path": str(path)}],
            "loss": {"scale": 20.0, "distill": False, "mask_duplicates": False},
            "lora": None,
            "max_length": {"query": case["query"], "document": case["length"]},
            "batch_size": case["batch"],
            "gradient_cache": case["chunk"] if cached else False,
            "learning_rate": 2e-5,
            "warmup_steps": 0,
            "max_steps": case["steps"],
            "save_steps": 10**6,
            "report_to": [],
            "output": str(folder / "ours"),
        }
    )
    if profile:
        return profiled(settings)
    train(settings, force=True)
    steps = [json.loads(line) for line in (folder / "ours" / "metrics.jsonl").read_text().splitlines()]
    seconds = [case["batch"] / step["examples/s"] for step in steps[SKIPPED:]]
    tokens = sum(step["tokens/s"] * s for step, s in zip(steps[SKIPPED:], seconds, strict=True))
    return {"seconds": seconds, "tokens": tokens, "padding": statistics.mean(s["padding"] for s in steps[SKIPPED:])}


def theirs(model: str, case: dict[str, int], folder: Path, *, cached: bool) -> dict[str, Any]:
    from datasets import Dataset
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.losses import CachedMultipleNegativesRankingLoss, MultipleNegativesRankingLoss
    from sentence_transformers.models import Pooling, Transformer
    from transformers import TrainerCallback

    body = Transformer(model, max_seq_length=case["length"])
    pooling = Pooling(body.get_embedding_dimension(), "lasttoken" if "decoder" in model else "mean")
    encoder = SentenceTransformer(modules=[body, pooling], device="cpu").float()
    given = rows(case["batch"] * case["steps"])
    limits = {"query": case["query"], "positive": case["length"], "negative": case["length"]}
    lengths = {name: [len(ids) for ids in body.tokenizer([row[name] for row in given])["input_ids"]] for name in limits}
    tokens = sum(min(limit, n) for name, limit in limits.items() for n in lengths[name])
    starts: list[float] = []

    class Clock(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            starts.append(time.monotonic())

        def on_train_end(self, *_: Any, **__: Any) -> None:
            starts.append(time.monotonic())

    loss = (
        CachedMultipleNegativesRankingLoss(encoder, scale=20.0, mini_batch_size=case["mini_batch"])
        if cached
        else MultipleNegativesRankingLoss(encoder, scale=20.0)
    )
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(folder / "theirs"),
        per_device_train_batch_size=case["batch"],
        max_steps=case["steps"],
        learning_rate=2e-5,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        logging_steps=10**6,
    )
    trainer = SentenceTransformerTrainer(
        encoder, arguments, train_dataset=Dataset.from_list(given), loss=loss, callbacks=[Clock()]
    )
    trainer.train()
    seconds = [end - start for start, end in zip(starts[SKIPPED:-1], starts[SKIPPED + 1 :], strict=True)]
    return {"seconds": seconds, "tokens": tokens / case["steps"] * len(seconds)}


def profiled(settings: Any) -> dict[str, Any]:
    """Where the time of one step goes, by kind of operation."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiler

    from debater_search.training.loss import DeliberationLoss
    from debater_search.training.run import Run
    from debater_search.training.steps import StepOptions, prepare, train_step

    run = Run(settings, Path("unused"), "cpu", False)
    run.student.model.train()
    loss = DeliberationLoss(**settings.loss.arguments())
    options = StepOptions(1, run.parallel, settings.gradient_cache or None)
    batches = [prepare(run.student, run.data.batch(step), run.settings.max_length.document) for step in range(2)]
    train_step(run.student, loss, batches[0], options)
    with profiler(activities=[ProfilerActivity.CPU]) as record:
        train_step(run.student, loss, batches[1], options)
    kinds = {
        "matrix products": ("aten::mm", "aten::addmm", "aten::bmm", "aten::linear", "mkldnn"),
        "attention": ("attention", "_scaled_dot"),
        "normalisation": ("layer_norm", "rms", "aten::rsqrt", "aten::pow", "aten::mean"),
        "activation": ("gelu", "silu", "aten::mul"),
    }
    shares: dict[str, float] = {}
    for event in record.key_averages():
        kind = next((k for k, names in kinds.items() if any(name in event.key for name in names)), "other")
        shares[kind] = shares.get(kind, 0.0) + event.self_cpu_time_total
    total = sum(shares.values())
    return {kind: share / total for kind, share in sorted(shares.items(), key=lambda item: -item[1])}


def matmul_peak() -> float:
    """The best of several fp32 matrix products of a size that layers have, in GFLOP/s."""
    import torch

    best = 0.0
    for size in (1024, 1536, 2048):
        a, b = torch.randn(size, size), torch.randn(size, size)
        for _ in range(8):
            start = time.perf_counter()
            a @ b
            best = max(best, 2 * size**3 / (time.perf_counter() - start) / 1e9)
    return best


def flops_a_token(model: str) -> float:
    """Floating-point operations of a training step's forward and backward passes for a token (6 a weight)."""
    from debater_search.encoder import Encoder

    backbone = Encoder.load(model, weights=False).model.backbone
    inside = sum(p.numel() for n, p in backbone.named_parameters() if "embed" not in n and p.dim() == 2)
    return 6.0 * inside


def run_one(program: str, case: str, folder: str, *, cached: bool) -> dict[str, Any]:
    """One run in a fresh process."""
    command = [sys.executable, __file__, "--child", program, "--case", case, "--folder", folder]
    environment = {
        **os.environ,
        "OMP_WAIT_POLICY": "PASSIVE",
        "PYTHONPATH": str(ROOT),
        "TRANSFORMERS_VERBOSITY": "error",
    }
    done = subprocess.run(
        [*command, *(["--cached"] if cached else [])], env=environment, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def child(program: str, case: str, folder: Path, cached: bool) -> None:
    model, sizes = model_folder(case, folder), CASES[case]
    if program == "peak":
        facts: dict[str, Any] = {"peak": matmul_peak(), "flops": flops_a_token(model)}
    elif program == "profile":
        facts = ours(model, sizes, folder, cached=cached, profile=True)
    else:
        facts = (ours if program == "ours" else theirs)(model, sizes, folder, cached=cached)
        facts["speed"] = facts["tokens"] / sum(facts["seconds"])
    facts["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(facts))


def compare(case: str, rounds: int, folder: str) -> None:
    sizes = CASES[case]
    print(
        f"\n### {case}: batch {sizes['batch']}, documents of {sizes['length']} tokens, fp32, all weights\n", flush=True
    )
    model_folder(case, Path(folder))
    ways = [("ours", True), ("theirs", True), ("ours", False), ("theirs", False)]
    results: dict[tuple[str, bool], list[dict[str, Any]]] = {way: [] for way in ways}
    peaks = []
    for _ in range(rounds):
        for program, cached in ways:
            results[program, cached].append(run_one(program, case, folder, cached=cached))
        peaks.append(run_one("peak", case, folder, cached=False))
    peak, flops = max(p["peak"] for p in peaks), peaks[0]["flops"]
    names = {"ours": "debater", "theirs": "sentence-transformers"}
    speed = {way: statistics.median(r["speed"] for r in found) for way, found in results.items()}
    print("| program | gradients | tokens/s | against sentence-transformers | share of matmul peak | peak memory, MB |")
    print("|--|--|--:|--:|--:|--:|")
    for program, cached in ways:
        found, rate = results[program, cached], speed[program, cached]
        extra = 4 / 3 if cached else 1  # the first pass without gradients is done again
        cells = [
            names[program],
            "cached" if cached else "in one",
            f"{rate:,.0f}",
            f"{rate / speed['theirs', cached]:.2f}",
            f"{rate * flops * extra / 1e9 / peak:.0%}",
            f"{max(r['memory'] for r in found):,.0f}",
        ]
        print(f"| {' | '.join(cells)} |")
    print(f"\nPadding of ours: {results['ours', True][0]['padding']:.1%}. Matrix product's peak: {peak:.0f} GFLOP/s.")
    for cached in (True, False):
        shares = run_one("profile", case, folder, cached=cached)
        parts = ", ".join(f"{kind} {share:.0%}" for kind, share in shares.items() if kind != "memory")
        print(f"Time of a step of ours, {'cached' if cached else 'in one'}: {parts}.", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", choices=list(CASES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    parser.add_argument("--cached", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        return child(given.child, given.case, Path(given.folder), given.cached)
    with tempfile.TemporaryDirectory() as folder:
        for case in [given.case] if given.case else CASES:
            compare(case, given.rounds, folder)
    return None


if __name__ == "__main__":
    main()
