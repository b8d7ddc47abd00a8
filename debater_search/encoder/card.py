"""The model card of a checkpoint or an exported folder: what it is, how it is loaded, what it scored."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import yaml

from debater_search.encoder.card_code import is_plain, transformers_code
from debater_search.encoder.loading.files import INT8_FILE, read_json
from debater_search.encoder.loading.hub import HUB_ID
from debater_search.files import from_json

Kind = Literal["checkpoint", "hf", "sentence-transformers", "onnx"]

CARD = "README.md"
MARK = "<!-- debater wrote this card and may write it again; without this line the file is left as it is. -->"
LIBRARIES = {"checkpoint": "transformers", "hf": "transformers"}
"""Kind of folder → the library that reads it, where it has another name."""
TRAINING = {
    "loss": ("contrast", "scale", "distill", "teacher", "guide"), "lora": ("r", "alpha", "dropout"), "batch_size": (),
    "negatives": (), "learning_rate": (), "schedule": (), "max_steps": (), "warmup_steps": (),
    "max_length": ("query", "document", "search"), "precision": (), "seed": (),
}  # fmt: skip
"""Settings of a training that a card shows, and which values of a section."""
ONLY_HERE = (
    "> **Not for sentence-transformers as it is.** It may read this folder without an error, but pools in its own way "
    "and makes other vectors. `debater export` writes a folder that it reads as debater does:"
)


def is_card(path: Path) -> bool:
    """Whether a file is a card that was written here; anything else of its name is the user's."""
    return path.is_file() and MARK in path.read_text(encoding="utf-8", errors="replace")


def write_card(folder: Path, kind: Kind, *, name: str | None = None) -> None:
    """Write README.md, by what the other files of a folder say; `name` is its title, None names the base model."""
    about = read_json(folder / ("template.json" if kind == "onnx" else "debater.json"))
    adapted = (folder / "adapter_config.json").is_file()
    base = str(about.get("base_model") or "")
    made_from = Path(str(about.get("model") or about.get("exported_from", {}).get("model") or name))
    within_run = made_from.name == "best" or made_from.name.startswith("checkpoint-")
    source = f"{made_from.parent.name}/{made_from.name}" if within_run and made_from.parent.name else made_from.name
    step = about.get("provenance", {}).get("step")
    trained = "" if step is None else f", trained for {step:,} steps"
    checkpoint = f"An encoder for dense retrieval: a checkpoint of debater{trained}."
    what = f"An encoder for dense retrieval, exported from {source} by debater ({kind})."
    only_here = kind == "hf" and ((folder / INT8_FILE).is_file() or not is_plain(about))
    library = "peft" if adapted else "debater" if only_here else LIBRARIES.get(kind, kind)
    head = ["---", f"library_name: {library}", "pipeline_tag: sentence-similarity", "tags: [debater, dense-retrieval]"]
    inherited = _inherited(base)
    head += [f"{name}: {inherited[name]}" for name in ("base_model", "language") if name in inherited]
    if hub_data := about.get("provenance", {}).get("hub_data"):
        head.append(f"datasets: [{', '.join(sorted({name.partition(':')[0] for name in hub_data}))}]")
    steps = about.get("thinking_steps", 1)
    lines = [*head, "---", "", MARK, "", f"# {name or f'Encoder on {Path(base).name}'}", ""]
    lines.append(checkpoint if kind == "checkpoint" else what)
    if steps > 1:
        lines.append(f"A document is read out after {steps} thinking tokens, the last of which is its vector.")
    lines += ["", *_usage(folder, kind)]
    if only_here:
        lines += ["", "transformers alone makes other vectors of this folder, or cannot read it."]
    elif kind == "hf":
        lines += ["", "With transformers alone, one text at a time:", ""]
        lines += ["```python", transformers_code(about), "```"]
    lines += [*_training(about, inherited), *_scores(about)]
    (folder / CARD).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _usage(folder: Path, kind: Kind) -> Iterator[str]:
    if kind == "onnx":
        yield "`template.json` says how texts become token ids, of which `query.onnx` and `document.onnx` make vectors."
        return
    yield from _python(
        "from debater_search import Encoder",
        'encoder = Encoder.load("FOLDER OR OWNER/NAME")',
        'queries = encoder.encode_queries(["a question"])',
        'documents = encoder.encode_documents(["a text"])',
    )
    if kind == "checkpoint":
        export = "debater export FOLDER --format sentence-transformers --output exported/NAME"
        yield from ("", ONLY_HERE, "", "```sh", export, "```")
    if (folder / "modules.json").is_file():
        own = any("modeling" in module["type"] for module in from_json((folder / "modules.json").read_text()))
        trust = ", trust_remote_code=True" if own else ""
        yield ""
        yield from _python(
            "from sentence_transformers import SentenceTransformer",
            f'model = SentenceTransformer("FOLDER OR OWNER/NAME"{trust})',
            'queries = model.encode_query(["a question"])',
            'documents = model.encode_document(["a text"])',
        )
        if own:
            yield ""
            yield "The prompt `query: ` in `model.prompts` only marks queries: `debater.json` has what is before them."


def _python(imported: str, *lines: str) -> list[str]:
    return ["```python", imported, "", *lines, "```"]


def _inherited(base: str) -> dict[str, str]:
    """`base_model`, `language`, `license` of a model on `base`: a name on the hub, or a folder whose card says so."""
    if HUB_ID.fullmatch(base):
        return {"base_model": base}
    card = Path(base, CARD)
    if not base or not card.is_file():
        return {}
    _, _, behind = card.read_text(encoding="utf-8", errors="replace").partition("---\n")
    try:
        said = yaml.safe_load(behind.partition("\n---")[0])
    except yaml.YAMLError:
        return {}
    names = ("base_model", "language", "license") if isinstance(said, dict) else ()
    return {name: " ".join(said[name].split()) for name in names if isinstance(said.get(name), str)}


def _training(about: dict[str, Any], inherited: dict[str, str]) -> list[str]:
    """A table of base, data and main settings of a training; nothing for a model that was not trained here."""
    made = about.get("provenance", {})
    config, rows = made.get("config"), made.get("rows", {})
    if not isinstance(config, dict):
        return []
    base, licence = str(about.get("base_model") or ""), inherited.get("license")
    named = base if HUB_ID.fullmatch(base) else Path(base).name
    prompt = " ".join(str(about.get("template", {}).get("query_prompt") or "").split())
    lines = [f"| base | {named}{f' (licence: {licence})' if licence else ''} |"]
    lines += [f"| before a query | {prompt} |"] if prompt else []
    lines += [
        f"| data | {name if name in made.get('hub_data', []) else Path(name).name}"
        f"{f', {rows[name]:,} rows' if name in rows else ''} |"
        for name in made.get("data", {})
    ]
    lines += [f"| {name} | {_shown(config[name], inner)} |" for name, inner in TRAINING.items() if name in config]
    return ["", "| trained with | |", "|--|--|", *lines, "", "`debater.json` has all settings."]


def _shown(value: Any, inner: Iterable[str]) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}: {_shown(value[name], ())}" for name in inner if value.get(name) is not None)
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _scores(about: dict[str, Any]) -> list[str]:
    """A table of the metrics that were measured while the model was trained; nothing if there are none."""
    made = about.get("provenance", {})
    places = {"evaluation": _task(made), "before training": f"{_task(made)}, before training"}
    rows = [
        f"| {places.get(phase, phase)} | {name} | {value:.4f} |"
        for phase, values in made.get("metrics", {}).items()
        if phase != "training" and isinstance(values, dict)
        for name, value in values.items()
        if isinstance(value, float) and "@" in name
    ]
    return ["", "| measured on | metric | value |", "|--|--|--:|", *rows] if rows else []


def _task(made: dict[str, Any]) -> str:
    """What a run was measured on while it was trained, by the names of the folders."""
    settings = made.get("config", {}).get("eval") or {}
    named, sample = settings.get("task", "evaluation"), settings.get("sample")
    searched = "" if sample is None else f" (judged and {sample:,} other documents)"
    return ", ".join(f"{Path(task).name}{searched}" for task in ([named] if isinstance(named, str) else named))
