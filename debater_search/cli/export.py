"""`debater export`: an encoder as other programs load it."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from debater_search.cli.options import BaseModel, Force, Json, examples
from debater_search.cli.output import results
from debater_search.errors import InvalidError

EXAMPLES = examples(
    "debater export debater-small --format sentence-transformers -o exported/small",
    "debater export checkpoints/mine --output exported/mine --push me/mine",
    "debater export debater-small --format onnx --int8 --output exported/small-onnx",
)


class Format(StrEnum):
    """What the folder is for."""

    hf = "hf"
    sentence_transformers = "sentence-transformers"
    onnx = "onnx"


def export(
    model: Annotated[
        str, typer.Argument(help="The encoder: a checkpoint, a model folder, a hub id or an alias.", metavar="MODEL")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write.", metavar="DIR")],
    format: Annotated[
        Format,
        typer.Option(
            "--format",
            help="A Hugging Face folder with the adapter merged (hf), one for sentence-transformers, or ONNX files "
            "(onnx).",
            metavar="FORMAT",
        ),
    ] = Format.hf,
    int8: Annotated[bool, typer.Option("--int8", help="Write 8-bit weights (hf, onnx): vectors differ.")] = False,
    push: Annotated[
        str | None,
        typer.Option("--push", help="Upload the folder to this repository of the hub, private.", metavar="OWNER/NAME"),
    ] = None,
    public: Annotated[bool, typer.Option("--public", help="Let everybody see what --push uploads.")] = False,
    base_model: BaseModel = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Export an encoder: transformers, sentence-transformers or ONNX.

    The folder is written after its vectors were compared with the model's. An index of the model accepts the folder.
    """
    with results(as_json) as out:
        from debater_search.encoder.export import export as write
        from debater_search.encoder.export import require_free
        from debater_search.encoder.loading.hub import require_model

        if public and push is None:
            raise InvalidError("`public` has no effect without `push`.", "Name the repository with `push`.")
        if push is not None:
            from debater_search.encoder.export.push import require_repository

            require_repository(push)
        from debater_search.files import folder_size

        require_free(output, force=force)
        require_model(model)
        folder = write(model, output, format.value, int8=int8, base_model=base_model, force=force)
        address = None
        if push is not None:
            from debater_search.encoder.export.push import push as upload

            address = upload(folder, push, public=public)
        size = folder_size(folder)
        if as_json:
            return out.json({"output": str(output), "format": format.value, "bytes": size, "repository": address})
        facts = [("output", str(output)), ("format", format.value), ("size", f"{size / 1e6:,.1f} MB")]
        return out.facts(facts + ([("repository", address)] if address else []))
