"""Options that several commands share, and the two defaults a newcomer meets first."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from debater_search.cli import completion
from debater_search.cli.completion import INDEXES as INDEXES
from debater_search.errors import DebaterError

DEFAULT_MODEL = "debater-small"

# Groups of options in --help, by purpose. Options without a group come first: the at most ten that a newcomer needs.
MODEL = "Model"
RANKING = "Ranking"
TEXTS = "Texts"


class Mode(StrEnum):
    """How documents are found."""

    dense = "dense"
    lexical = "lexical"
    hybrid = "hybrid"


class Rescore(StrEnum):
    """Which thinking steps decide, where all are stored."""

    max = "max"
    mean = "mean"


Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help="A folder, a hub id, or debater-small (the default), minilm, debater-2b, debater-4b, smollm2-135m.",
        metavar="M",
        autocompletion=completion.model_names,
    ),
]
QueryModel = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help="Model that encodes queries; must be the one that made the index.",
        metavar="M",
        rich_help_panel=MODEL,
        autocompletion=completion.model_names,
    ),
]
BaseModel = Annotated[
    str | None,
    typer.Option(
        "--base-model",
        help="Base model of an adapter whose config does not name it.",
        metavar="M",
        rich_help_panel=MODEL,
    ),
]
Pooling = Annotated[
    str | None,
    typer.Option(
        help="Pooling of a model that declares none: mean, cls, last, max, mean_sqrt_len, weightedmean.",
        metavar="NAME",
        rich_help_panel=MODEL,
    ),
]
Device = Annotated[
    str, typer.Option("--device", help="Where the model runs: auto, cpu, cuda, cuda:1, mps.", metavar="NAME")
]
Attention = Annotated[
    str | None,
    typer.Option(
        help="Attention kernel: auto, sdpa, eager, flash_attention_2. Default: auto.",
        metavar="NAME",
        rich_help_panel=MODEL,
    ),
]
Instruction = Annotated[
    str | None,
    typer.Option(
        "--instruction",
        help='Instruction put before each query; "" for none. Default: the model\'s own.',
        metavar="TEXT",
        rich_help_panel=MODEL,
    ),
]
SearchMode = Annotated[
    Mode,
    typer.Option(
        "--mode",
        help="Search by vectors (dense), by words (lexical: BM25), or by both (hybrid).",
        metavar="MODE",
        rich_help_panel=RANKING,
    ),
]
Rerank = Annotated[
    str | None,
    typer.Option(
        "--rerank",
        help="Reorder the best documents by this reranker: a folder or a hub id.",
        metavar="MODEL",
        rich_help_panel=RANKING,
    ),
]
RerankDepth = Annotated[
    int | None,
    typer.Option(
        "--rerank-depth",
        help="Documents per query that --rerank reads. Default: 20 on a CPU, 100 on a GPU.",
        metavar="N",
        rich_help_panel=RANKING,
    ),
]
Where = Annotated[
    str | None,
    typer.Option("--where", help="Only documents that this filter allows, as in `debater search`.", metavar="FILTER"),
]
Columns = Annotated[
    str | None,
    typer.Option(
        help="Columns that are the id, the title and the text: id=sku,text=name+notes. Default: by their names. "
        "Cells of a list are separated by | or ; (list=tags), or by commas (comma-list=genres); "
        "number=price reads numbers beside other cells.",
        metavar="ROLE=COLUMN,…",
        rich_help_panel=TEXTS,
    ),
]
SkipBad = Annotated[
    bool,
    typer.Option(
        "--skip-bad", help="Leave out rows and files that cannot be read, and name them.", rich_help_panel=TEXTS
    ),
]
Wait = Annotated[
    bool, typer.Option("--wait", help="Wait for another writer of the index, however long, instead of failing at once.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace a finished output.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout; all else goes to stderr.")]


def load_encoder(model: str | None, base_model: str | None, device: str, **more: Any) -> Any:
    """Load the model that the options name, or the default one; of `more` what is given goes to `Encoder.load`.

    Raises DebaterError where it cannot be.
    """
    from debater_search.encoder.arguments import require_arguments
    from debater_search.encoder.loading.hub import require_model

    given = {name: value for name, value in more.items() if value is not None}
    require_arguments(device=device, **given)
    require_model(model or DEFAULT_MODEL)
    from debater_search.encoder import Encoder

    return Encoder.load(model or DEFAULT_MODEL, base_model=base_model, device=device, **given)


def load_reranker(model: str | None, depth: int | None, device: str) -> Any:
    """Load the reranker that --rerank names; None if there is none. Raises DebaterError if it cannot be loaded."""
    from debater_search.search.request import require_rerank_depth

    require_rerank_depth(depth, reranks=model is not None)
    if model is None:
        return None
    from debater_search.encoder.arguments import require_arguments
    from debater_search.encoder.loading.hub import require_model

    require_arguments(device=device)
    require_model(model)
    from debater_search.encoder import Reranker

    return Reranker.load(model, device=device)


def parse_columns(text: str | None) -> dict[str, list[str]] | None:
    """The columns that --columns names for each role; DebaterError if it is written in another way."""
    if text is None:
        return None
    pairs = [pair.partition("=") for pair in text.split(",")]
    columns = {role.strip(): [name.strip() for name in names.split("+")] for role, _, names in pairs}
    if not all(equals for _, equals, _ in pairs) or len(columns) < len(pairs):
        raise DebaterError(
            f"--columns takes pairs such as id=sku,title=name, not {text!r}.",
            "A role is id, title, text, list, comma-list or number; several columns: text=description+features.",
        )
    return columns


def examples(*lines: str) -> str:
    """The end of a command's --help: one example a line."""
    return "\n".join(["Examples:", *(f"  {line}" for line in lines)])
