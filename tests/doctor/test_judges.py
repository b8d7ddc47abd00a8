"""What each check says of a fact."""

from importlib import import_module
from typing import Any

import pytest

from debater_search.doctor import Asked, Finding
from debater_search.doctor.pytorch import has_kernels

GB = 10**9
MACHINE = {"cores": 8, "affinity": 8, "quota": None, "threads": None, "load": 0.5,
           "memory": {"total": 32 * GB, "available": 16 * GB}}  # fmt: skip
TORCH = {"driver": None, "version": "2.13.0+cpu", "cuda": None, "hip": None, "hidden": False, "available": False,
         "said": [], "mps": False, "simd": "AVX2"}  # fmt: skip
CUDA = {**TORCH, "version": "2.13.0", "cuda": "13.0", "driver": "580.65"}
CARD = {"name": "H200", "capability": [9, 0], "kernels": ["sm_80", "sm_90"], "memory": 80 * GB, "free": 79 * GB,
        "error": 0.004}  # fmt: skip
FLASH = {"installed": "2.8.3", "usable": True, "capability": [9, 0], "loads": True, "error": 0.003}
FAISS = {"wheels": ["faiss-cpu"], "milvus_lite": False, "driver": None, "version": "1.15.1", "level": 2, "cpu": 2,
         "limited": False, "gpus": 0}  # fmt: skip
SQLITE = {"version": "3.45.0", "threads": 3, "missing": [], "counted": False}
PLACE = {"place": "indexes", "free": 50 * GB, "writable": True, "left": [], "failed": [], "fsync": 0.01}
LEFT = {"path": "indexes/.a.building", "role": "building", "bytes": 3 * GB, "seconds": 200_000.0, "busy": False}
CACHE = {"parts": {"training": GB, "hashes": 10}, "free": 50 * GB, "chosen": False, "replaced": False}
INDEX = {**MACHINE, "index": "indexes/a", "documents": 100, "rows": 110, "deleted": 10, "vectors": GB, "bytes": 2 * GB,
         "free": 50 * GB, "writable": True, "fields": True, "seconds": 0.2}  # fmt: skip
MODEL = {"name": "m", "seconds": 1.0, "dim": 384, "steps": 8, "device": "cpu", "dtype": "float32", "rate": 100.0,
         "finite": True, "difference": 1e-7}  # fmt: skip
VERSIONS = {"python": "3.12.1", "old": False, "missing": [], "extras": {"eval": [], "serve": ["uvicorn"]},
            "installed": {"torch": "2.13.0+cpu"}, "tested": {"torch": "2.13.0"}}  # fmt: skip
ANSWERS = {"answers": True, "seconds": 0.1, "skew": 1.0}


def with_card(**facts: Any) -> dict[str, Any]:
    return {**CUDA, "available": True, "cards": [{**CARD, **facts}]}


CASES: list[tuple[str, dict[str, Any], str, str, str]] = [
    # module, facts, level, part of the message, part of the remedy
    ("versions", VERSIONS, "ok", "not installed: serve", ""),
    ("versions", {**VERSIONS, "python": "3.10.2", "old": True}, "problem", "3.10.2 is too old", "Python 3.11"),
    ("versions", {**VERSIONS, "missing": ["peft>=0.18"]}, "problem", "peft>=0.18", "pip install 'peft>=0.18'"),
    ("versions", {**VERSIONS, "tested": {"torch": "2.14.0"}}, "note", "torch 2.13.0+cpu (2.14.0)", "torch==2.14.0"),
    ("machine", MACHINE, "ok", "8 cores", ""),
    ("machine", {**MACHINE, "affinity": 2}, "ok", "2 cores of 8", ""),
    ("machine", {**MACHINE, "quota": 2.0}, "note", "threads wait", "export OMP_NUM_THREADS=2"),
    ("machine", {**MACHINE, "threads": 16}, "note", "more threads than the 8 cores", "unset OMP_NUM_THREADS"),
    ("machine", {**MACHINE, "threads": 1}, "note", "leaves some of the 8 cores", "unset OMP_NUM_THREADS"),
    ("machine", {**MACHINE, "threads": 0}, "note", "not a number", "unset OMP_NUM_THREADS"),
    ("machine", {**MACHINE, "quota": 2.0, "threads": 2}, "ok", "2 cores of 8", ""),
    ("machine", {**MACHINE, "load": 40.0}, "note", "40.0 processes", ""),
    ("machine", {**MACHINE, "memory": {"total": 4 * GB, "available": GB}}, "note", "1.0 GB of 4.0 GB", "Close other"),
    ("pytorch", TORCH, "ok", "PyTorch 2.13.0 for CPU, no GPU", ""),
    ("pytorch", {**TORCH, "driver": "580.65"}, "problem", "a build for CPUs", "get-started"),
    ("pytorch", CUDA, "problem", "finds no GPU with the NVIDIA driver 580.65", "Update the driver"),
    ("pytorch", {**CUDA, "said": ["too old"]}, "problem", "(too old)", "Update the driver"),
    ("pytorch", {**CUDA, "hidden": True}, "note", "CUDA_VISIBLE_DEVICES hides", "unset CUDA_VISIBLE_DEVICES"),
    ("pytorch", {**TORCH, "mps": True}, "ok", "Apple GPU", ""),
    ("pytorch", with_card(), "ok", "1 GPU", ""),
    ("pytorch", with_card(), "ok", "H200, compute capability 9.0", ""),
    ("pytorch", with_card(capability=[12, 0]), "problem", "no kernels", "start"),
    ("pytorch", with_card(error=0.5), "problem", "wrong by 50%", "nvidia-smi"),
    ("pytorch", with_card(error=float("nan")), "problem", "wrong", "nvidia-smi"),
    ("pytorch", with_card(capability=[7, 5], kernels=["sm_75"]), "note", "no fast bfloat16", ""),
    ("pytorch", with_card(free=GB), "note", "other programs", "nvidia-smi"),
    ("pytorch", {**TORCH, "runtimes": ["libgomp"]}, "ok", "libgomp", ""),
    ("pytorch", {**TORCH, "runtimes": ["libgomp", "libiomp5"]}, "note", "Two OpenMP", "both by pip"),
    ("flash", {"installed": None}, "ok", "not installed", ""),
    ("flash", FLASH, "ok", "2.8.3", ""),
    ("flash", {**FLASH, "error": 0.4}, "problem", "wrong by 40%", "pip uninstall"),
    ("flash", {**FLASH, "usable": False}, "note", "does not use version 2.8.3", "flash-attn>=2.7"),
    ("flash", {**FLASH, "capability": [7, 5]}, "note", "compute capability 8.0", ""),
    ("flash", {**FLASH, "capability": None}, "note", "without an NVIDIA GPU", ""),
    ("faiss_library", FAISS, "ok", "FAISS 1.15.1, AVX512", ""),
    ("faiss_library", {**FAISS, "level": 1}, "note", "the CPU has AVX512", "--no-deps faiss-cpu"),
    ("faiss_library", {**FAISS, "level": 1, "limited": True}, "note", "the CPU has AVX512", "unset FAISS_OPT_LEVEL"),
    ("faiss_library", {**FAISS, "driver": "580.65"}, "note", "searches on the CPU", "pip install faiss-gpu"),
    ("faiss_library", {**FAISS, "gpus": 2, "wrong": [1]}, "problem", "on GPU 1", "pip install"),
    ("faiss_library", {**FAISS, "gpus": 2, "wrong": []}, "ok", "2 GPUs", ""),
    ("faiss_library", {**FAISS, "wheels": ["faiss-gpu"], "milvus_lite": True}, "note", "milvus-lite", "uninstall"),
    ("sqlite", SQLITE, "ok", "SQLite 3.45.0", ""),
    ("sqlite", {**SQLITE, "missing": ["FTS5"]}, "problem", "lacks FTS5", "Install a Python"),
    ("sqlite", {**SQLITE, "threads": 0}, "problem", "one thread", "Install a Python"),
    ("sqlite", {**SQLITE, "counted": True}, "note", "counts its memory", ""),
    ("place", PLACE, "ok", "locks, renames and fsync work", ""),
    ("place", {**PLACE, "failed": ["locks"]}, "problem", "fails at: locks", "local disk"),
    ("place", {**PLACE, "writable": False}, "note", "searches work", "ls -ld indexes"),
    ("place", {**PLACE, "free": 10**6}, "problem", "1.0 MB free", "df -h indexes"),
    ("place", {**PLACE, "fsync": 0.7}, "note", "0.7 s", "local disk"),
    ("place", {**PLACE, "left": [LEFT]}, "note", "3.0 GB, untouched for 2 days", "rm -r indexes/.a.building"),
    ("place", {**PLACE, "left": [{**LEFT, "role": "unfinished"}]}, "note", "an unfinished index", "resumes"),
    ("place", {**PLACE, "left": [{**LEFT, "busy": True}]}, "ok", "at work", ""),
    ("caches", CACHE, "ok", "1.0 GB (hashes 10 B, training 1.0 GB)", ""),
    ("caches", {**CACHE, "parts": {"training": 50 * GB}}, "note", "50.0 GB", "rm -r ~/.cache/debater"),
    ("caches", {**CACHE, "parts": {"training": 50 * GB}, "chosen": True}, "note", "50.0 GB", "$XDG_CACHE_HOME"),
    ("caches", {**CACHE, "free": 1000}, "problem", "nearly full", "rm -r"),
    ("caches", {**CACHE, "replaced": True}, "note", "cannot be written to", "own it"),
    ("caches", {"hub": 3 * GB}, "ok", "3.0 GB", ""),
    ("index", INDEX, "ok", "100 documents, 2.0 GB; opened and searched in 0.2 s", ""),
    ("index", {**INDEX, "vectors": 20 * GB}, "problem", "20.0 GB, and 16.0 GB", "--type sq8"),
    ("index", {**INDEX, "vectors": 10 * GB}, "note", "10.0 GB of the 16.0 GB", "--type sq8"),
    ("index", {**INDEX, "free": GB}, "note", "To compact or replace", "df -h"),
    ("index", {**INDEX, "deleted": 60}, "note", "60 of 110 rows", "debater compact indexes/a"),
    ("index", {**INDEX, "fields": False}, "note", "earlier version", "debater compact indexes/a"),
    ("index", {**INDEX, "model": ["No such folder.", "Name it."]}, "problem", "Its model is not here.", "Name it."),
    ("model", MODEL, "ok", "384 dimensions, 8 steps, float32 on cpu; loaded in 1.0 s, 100 texts/s", ""),
    ("model", {**MODEL, "finite": False}, "problem", "not finite", "float32"),
    ("model", {**MODEL, "difference": 0.1}, "problem", "depends on the batch", "--attention eager"),
    ("model", {**MODEL, "difference": float("nan")}, "problem", "depends on the batch", "--attention eager"),
    ("model", {**MODEL, "difference": 0.01, "dtype": "bfloat16"}, "ok", "bfloat16", ""),
    ("online", {"offline": True, "services": {}}, "note", "HF_HUB_OFFLINE is set", "unset HF_HUB_OFFLINE"),
    ("online", {"services": {"S3": ANSWERS}}, "ok", "S3 answers in 100 ms", ""),
    ("online", {"services": {"Ray": {"answers": False, "why": "refused"}}}, "problem", "Ray does not", "network"),
    ("online", {"services": {"S3": {**ANSWERS, "skew": -1200}}}, "problem", "20 minutes off", "timedatectl"),
]  # fmt: skip


@pytest.mark.parametrize(("module", "facts", "level", "message", "remedy"), CASES)
def test_a_fact_is_judged(module: str, facts: dict[str, Any], level: str, message: str, remedy: str) -> None:
    found = judged(module, facts)
    assert [f for f in found if (f.level, bool(message in f.message), bool(remedy in f.remedy)) == (level, True, True)]


@pytest.mark.parametrize(("module", "facts", "level"), [case[:3] for case in CASES])
def test_all_else_about_it_is_no_worse(module: str, facts: dict[str, Any], level: str) -> None:
    """A fact that was faked does not spoil what is said of the others."""
    worse = ["ok", "note", "problem"]
    assert max(worse.index(finding.level) for finding in judged(module, facts)) <= worse.index(level)


@pytest.mark.parametrize("module", sorted({case[0] for case in CASES}))
def test_nothing_is_said_where_nothing_was_found_out(module: str) -> None:
    assert judged(module, {}) == []


@pytest.mark.parametrize(
    ("module", "known"),
    [
        ("versions", ["python", "old"]),
        ("versions", ["python", "old", "installed", "tested"]),
        ("machine", ["cores", "affinity", "quota", "threads"]),
        ("pytorch", ["driver"]),
        ("pytorch", ["driver", "version", "cuda", "hip", "hidden"]),
        ("flash", ["installed"]),
        ("flash", ["installed", "usable", "capability"]),
        ("faiss_library", ["wheels", "milvus_lite", "driver"]),
        ("faiss_library", ["wheels", "milvus_lite", "driver", "version", "level", "cpu", "limited"]),
        ("sqlite", ["version", "threads"]),
        ("place", ["place", "free", "writable"]),
        ("place", ["place", "free", "writable", "left", "failed"]),
        ("index", ["index", "documents", "rows", "deleted", "vectors", "bytes", "free", "writable"]),
        ("model", ["name", "seconds", "dim", "steps", "device", "dtype"]),
        ("model", ["name", "seconds", "dim", "steps", "device", "dtype", "rate", "finite"]),
    ],
)
def test_a_judge_does_with_the_facts_before_a_crash(module: str, known: list[str]) -> None:
    whole = next(case[1] for case in CASES if case[0] == module and set(known) <= case[1].keys())
    judged(module, {key: whole[key] for key in known})


@pytest.mark.parametrize("case", [case for case in CASES if case[2] == "problem"])
def test_every_problem_names_what_mends_it(case: tuple[str, dict[str, Any], str, str, str]) -> None:
    assert all(finding.remedy for finding in judged(*case[:2]) if finding.level == "problem")


@pytest.mark.parametrize(
    ("capability", "kernels", "runs"),
    [
        ((8, 6), ["sm_80"], True),
        ((8, 0), ["sm_86"], False),
        ((9, 0), ["sm_80"], False),
        ((9, 0), ["sm_90a"], True),
        ((12, 1), ["sm_120a"], False),
        ((12, 1), ["sm_120"], True),
        ((12, 0), ["sm_90", "compute_90"], True),
        ((7, 0), ["sm_75", "compute_75"], False),
        ((10, 3), ["sm_100", "odd"], True),
        ((9, 0), [], False),
    ],
)
def test_kernels_run_on_cards_of_their_generation(capability: tuple[int, int], kernels: list[str], runs: bool) -> None:
    assert has_kernels(capability, kernels) is runs


def judged(module: str, facts: dict[str, Any]) -> list[Finding]:
    return list(import_module(f"debater_search.doctor.{module}").judge(facts, Asked()))
