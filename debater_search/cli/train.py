"""`debater train`: a config in, a checkpoint out."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from debater_search.cli.options import Device, Force, Json, examples
from debater_search.cli.output import printable, results

EXAMPLES = examples(
    "debater train configs/demo.yaml",
    "debater train configs/demo.yaml learning_rate=1e-4 lora.r=8 --output checkpoints/small",
    "debater train configs/demo.yaml --resume",
)


def train(
    config: Annotated[
        Path, typer.Argument(help="Settings in YAML or JSON; configs/ has some to start from.", metavar="CONFIG")
    ],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Settings that replace those of the file.", metavar="KEY=VALUE")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Default: the config's own.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last complete checkpoint.")] = False,
    force: Force = False,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Train an encoder on queries and the texts that answer them.

    A JSON config of the released DEBATER code is taken as it is: what it means here is shown, then trained.
    """
    with results(as_json) as out:
        from debater_search import training

        released = training.is_released_config(config)
        translated = training.translate_released_config(config, overrides or []) if released else None
        if translated is not None:
            print("\n".join(map(printable, translated.splitlines())), file=sys.stderr)
        settings = training.load_config(config, overrides or [])
        checkpoint = training.train(settings, output=output, resume=resume, force=force, device=device, progress=True)
        if as_json:
            return out.json({"checkpoint": str(checkpoint), **({"translated": translated} if released else {})})
        out.facts([("checkpoint", str(checkpoint))])
        return out.show(f"Next: debater index CORPUS --model {checkpoint}")
