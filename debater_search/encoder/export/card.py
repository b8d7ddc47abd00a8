"""The model card of an exported folder: what it is, how it is loaded, what it scored."""

from pathlib import Path
from typing import Any

from debater_search.encoder.loading.files import read_json
from debater_search.encoder.loading.hub import HUB_ID
from debater_search.files import from_json

CARD = "README.md"


def write_card(folder: Path, format: str, *, name: str) -> None:
    """Write README.md: what the folder is, how it is loaded, what it scored."""
    about = read_json(folder / ("template.json" if format == "onnx" else "debater.json"))
    source = str(about.get("model") or about.get("exported_from", {}).get("model") or name)
    base = about.get("base_model")
    library = {"hf": "transformers", "onnx": "onnx"}.get(format, format)
    head = ["---", f"library_name: {library}"]
    head += ["pipeline_tag: sentence-similarity", "tags: [debater, dense-retrieval]"]
    if isinstance(base, str) and HUB_ID.fullmatch(base):
        head.append(f"base_model: {base}")
    steps = about.get("thinking_steps", 1)
    what = f"An encoder for dense retrieval, exported from {Path(source).name} by debater ({format})."
    lines = [*head, "---", "", f"# {name}", "", what]
    if steps > 1:
        lines.append(f"A document is read out after {steps} thinking tokens, the last of which is its vector.")
    lines += ["", *_usage(folder, format), *_scores(about)]
    (folder / CARD).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _usage(folder: Path, format: str) -> list[str]:
    if format == "onnx":
        return [
            "`template.json` says how a text becomes token ids; `query.onnx` and `document.onnx` make vectors of them."
        ]
    code = ['encoder = Encoder.load("FOLDER OR OWNER/NAME")', 'vectors = encoder.encode_queries(["a question"])']
    lines = ["```python", "from debater_search import Encoder", "", *code, "```"]
    if (folder / "modules.json").is_file():
        own = any("modeling" in module["type"] for module in from_json((folder / "modules.json").read_text()))
        trust = ", trust_remote_code=True" if own else ""
        lines += ["", "```python", "from sentence_transformers import SentenceTransformer", ""]
        lines += [f'model = SentenceTransformer("FOLDER OR OWNER/NAME"{trust})']
        lines += [
            'queries = model.encode_query(["a question"])',
            'documents = model.encode_document(["a text"])',
            "```",
        ]
    return lines


def _scores(about: dict[str, Any]) -> list[str]:
    """A table of the metrics that were measured while the model was trained; nothing if there are none."""
    metrics = about.get("provenance", {}).get("metrics", {})
    rows = [
        f"| {task} | {name} | {value:.4f} |"
        for task, values in metrics.items()
        if task != "training" and isinstance(values, dict)
        for name, value in values.items()
        if isinstance(value, float) and "@" in name
    ]
    return ["", "| measured on | metric | value |", "|--|--|--:|", *rows] if rows else []
