"""Encoding beside sentence-transformers and the machine's own matrix product, side by side in one run.

    python benchmarks/encode.py [FOLDER …] [--threads 2] [--rounds 3] [--minilm 512] [--decoder 48] [--dtype int8]

Each FOLDER is a collection in BEIR layout (data/cranfield if none is given); a mix of very uneven lengths is added.
Both sides get the same model folder, texts, limits and threads, and take turns; medians are compared. The decoder has
SmolLM2-135M's shape and random weights: the last token is its embedding. GFLOP/s count the multiplications of the
layers' weights for tokens that are not padding, the same for both sides; the peak is torch.mm on float32 squares.
"""

import argparse
import json
import os
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
from torch import nn

from debater_search.data import read_corpus
from debater_search.encoder import Encoder
from debater_search.encoder.loading.hub import locate

CRANFIELD = Path(__file__).parent.parent / "data" / "cranfield"
SMOLLM2 = {"model_type": "llama", "hidden_size": 576, "num_hidden_layers": 30, "num_attention_heads": 9,
           "num_key_value_heads": 3, "intermediate_size": 1536, "vocab_size": 49152, "pad_token_id": 0,
           "max_position_embeddings": 8192, "bos_token_id": 101, "eos_token_id": 102}  # fmt: skip
DECODER_LENGTH = 256
PEAK_SIDE = 2048


def save_decoder(folder: Path, tokenizer: Path) -> Path:
    """A sentence-transformers folder of a random decoder of SmolLM2-135M's shape, with MiniLM's tokenizer."""
    from transformers import AutoConfig, AutoModel

    torch.manual_seed(0)
    AutoModel.from_config(AutoConfig.for_model(**SMOLLM2)).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
        if (tokenizer / name).is_file():
            shutil.copyfile(tokenizer / name, folder / name)
    modules = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    (folder / "modules.json").write_text(json.dumps([
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(modules)
    ]))  # fmt: skip
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": DECODER_LENGTH}))
    (folder / "1_Pooling").mkdir()
    (folder / "2_Normalize").mkdir()
    pooling = {"word_embedding_dimension": SMOLLM2["hidden_size"], "pooling_mode_lasttoken": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    return folder


def uneven(texts: list[str], seed: int = 0) -> list[str]:
    """The same words cut anew: lengths of 2 to 400 words, every order of magnitude as often, shuffled."""
    rng = random.Random(seed)
    words = " ".join(texts).split()
    cut = []
    for _ in texts:
        length = round(2 * 200 ** rng.random())
        start = rng.randrange(max(1, len(words) - length))
        cut.append(" ".join(words[start : start + length]))
    return cut


def sets(folders: list[Path], documents: int) -> Iterator[tuple[str, list[str]]]:
    """Name and texts of each set, drawn at random."""
    first: list[str] = []
    for folder in folders:
        texts = [document.content for document in read_corpus(folder / "corpus.jsonl")]
        texts = random.Random(0).sample(texts, min(documents, len(texts)))
        first = first or texts
        yield folder.name, texts
    yield "uneven lengths", uneven(first)


def peak() -> float:
    """GFLOP/s of a float32 matrix product, the best of a few."""
    a, b = torch.randn(2, PEAK_SIDE, PEAK_SIDE)
    taken = [seconds(lambda: torch.mm(a, b))[0] for _ in range(5)]
    return 2 * PEAK_SIDE**3 / min(taken) / 1e9


def seconds(work: Callable[[], object]) -> tuple[float, object]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def flops_per_token(encoder: Encoder) -> int:
    """Multiplications and additions of the linear layers' weights."""
    return 2 * sum(m.weight.numel() for m in encoder.model.backbone.modules() if isinstance(m, nn.Linear))


def compare(name: str, folder: Path, folders: list[Path], documents: int, rounds: int, dtype: str) -> None:
    """Print a row for each set of texts."""
    from sentence_transformers import SentenceTransformer

    encoder = Encoder.load(folder, device="cpu", dtype=dtype)
    theirs = SentenceTransformer(str(folder), device="cpu")
    theirs.max_seq_length = encoder.spec.document_length
    flops = flops_per_token(encoder)
    for texts_name, texts in sets(folders, documents):
        lengths = [len(ids) for ids in encoder.token_ids(texts, "document")]
        budget = encoder.calibrate(texts)
        sides: dict[str, Callable[[list[str]], np.ndarray]] = {
            "theirs": lambda some: theirs.encode(some, normalize_embeddings=True),
            "ours": lambda some, budget=budget: encoder.encode_documents(some, batch_tokens=budget),
        }
        times: dict[str, list[float]] = {side: [] for side in sides}
        peaks, vectors = [], {}
        for encode in sides.values():
            encode(texts[:8])  # the first call meets cold caches
        for _ in range(rounds):
            for side, encode in sides.items():
                taken, vectors[side] = seconds(partial(encode, texts))
                times[side].append(taken)
            peaks.append(peak())
        theirs_rate, ours_rate = (sum(lengths) / statistics.median(times[side]) for side in ("theirs", "ours"))
        difference = abs(vectors["ours"] - vectors["theirs"]).max()
        top = statistics.median(peaks)
        print(
            f"| {name} | {texts_name} | {len(texts):,} | {statistics.mean(lengths):.0f} | {budget:,} "
            f"| {theirs_rate:,.0f} | {ours_rate:,.0f} | **{ours_rate / theirs_rate:.2f}** "
            f"| {theirs_rate * flops / 1e9:.0f} | {ours_rate * flops / 1e9:.0f} | {top:.0f} "
            f"| {ours_rate * flops / 1e9 / top:.0%} | {difference:.0e} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, default=[CRANFIELD])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--minilm", type=int, default=512, help="documents of each set for MiniLM; 0 leaves it out")
    parser.add_argument("--decoder", type=int, default=48, help="documents of each set for the decoder")
    parser.add_argument("--dtype", default="auto", help="what ours computes in")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    columns = ["model", "texts", "documents", "tokens each", "batch tokens", "sentence-transformers, tokens/s",
               "debater, tokens/s", "ratio", "GFLOP/s theirs", "ours", "peak", "ours / peak",
               "largest difference"]  # fmt: skip
    print(f"{asked.threads} threads, torch {torch.__version__}, medians of {asked.rounds} rounds in turn\n")
    print("| " + " | ".join(columns) + " |\n|--|--" + "|--:" * (len(columns) - 2) + "|")
    minilm = locate("minilm").folder
    if asked.minilm:
        compare("MiniLM-L6", minilm, asked.folders, asked.minilm, asked.rounds, asked.dtype)
    if asked.decoder:
        with tempfile.TemporaryDirectory() as folder:
            decoder = save_decoder(Path(folder) / "decoder", minilm)
            compare("decoder, SmolLM2-135M's shape", decoder, asked.folders, asked.decoder, asked.rounds, asked.dtype)


if __name__ == "__main__":
    main()
