"""`debater train`: a config in, a checkpoint out."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from debater_search.cli.interrupts import Interruption
from debater_search.cli.options import Device, Json, examples
from debater_search.cli.output import Output, results
from debater_search.errors import MissingError
from debater_search.terminal import printable

if TYPE_CHECKING:
    from debater_search.training import TrainingSettings

EXAMPLES = examples(
    "debater train configs/demo.yaml",
    "debater train configs/demo.yaml learning_rate=1e-4 --output checkpoints/small",
    "debater train configs/demo.yaml --dry-run",
    "debater train configs/demo.yaml --resume",
    "debater train configs/demo.yaml --resume --force max_steps=900",
    "debater train configs/minicpm2-2b.yaml data_folder=/data/echo --processes 4",
)


def train(
    config: Annotated[
        Path,
        typer.Argument(
            help="Settings in YAML or JSON. The source code has examples in configs/, and all settings in its "
            "REFERENCE.md.",
            metavar="CONFIG",
        ),
    ],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Settings that override the file's.", metavar="KEY=VALUE")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Folder of the checkpoint. Default: the config's own.", metavar="DIR")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last complete checkpoint.")] = False,
    processes: Annotated[
        int | None, typer.Option(help="Processes to start on this machine. Default: one per GPU.", metavar="N")
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Check everything and print the plan; load no weights. With precision=bf16 also for a GPU elsewhere.",
        ),
    ] = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="Start over where the output holds a run; with --resume, change its settings."),
    ] = False,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Train an encoder on queries and the texts that answer them.

    The smallest CONFIG is:

    {model: debater-small, data: [{path: rows.jsonl}], batch_size: 32,
    output: checkpoints/new}

    A row of data is {"query": "…", "positive": "…", "negative": "…"}, each a text
    or a list; negative may be missing. Shapes of other tools work, too.

    A JSON config of the released DEBATER code works, too: the command shows what
    it means here, then trains.
    """
    with results(as_json) as out:
        from debater_search import training
        from debater_search.training.checks import check
        from debater_search.training.run_folder import PICTURE_FILE, best_measured, measured_before, newest_complete

        released = training.is_released_config(config)
        translated = training.translate_released_config(config, overrides or []) if released else None
        if translated is not None:
            print("\n".join(map(printable, translated.splitlines())), file=sys.stderr)
        settings = training.load_config(config, overrides or [], output=output)
        translation = {"translated": translated} if released else {}
        where: dict[str, Any] = {"output": output, "resume": resume, "force": force, "device": device}
        if dry_run:
            check(settings, processes=processes, dry_run=True, device=device)
            return _dry_run(out, settings, {**where, "processes": processes}, translation)
        try:
            checkpoint = training.train(settings, **where, processes=processes, progress=True)
        except KeyboardInterrupt as interrupted:
            newest = newest_complete(output or Path(settings.output))
            if newest is None or not training.is_main_process():
                raise
            kind, _, step = newest.name.partition("-")
            step = f"{step} of the warm start" if kind == "warm" else step
            flags = "--resume --force" if resume and force else "--resume"
            raise Interruption(f"Go on with {flags}; the last checkpoint is of step {step}.") from interrupted
        if not training.is_main_process():  # one of several that torchrun has started
            return None
        best = best_measured(checkpoint) if settings.eval is not None else None
        if as_json:
            measured = {} if best is None else {"best": {"step": best[0], "ndcg@10": best[1]}}
            return out.json({"checkpoint": str(checkpoint), **measured, **translation})
        facts = [("checkpoint", str(checkpoint)), ("losses", str(checkpoint / PICTURE_FILE))]
        before = None if best is None else measured_before(checkpoint)
        if best is not None:
            facts.append(("best", f"step {best[0]:,}: nDCG@10 {best[1]:.4f}, in {checkpoint / 'best'}"))
        if before is not None:
            facts.append(("before", f"nDCG@10 {before:.4f}, of the model before training"))
        out.facts(facts)
        if best is not None and before is not None and best[1] < before:
            return None  # a warning says that training made the model worse
        return out.next(f"debater index CORPUS --model {checkpoint if best is None else checkpoint / 'best'}")


def _dry_run(out: Output, settings: "TrainingSettings", arguments: dict[str, Any], translation: dict[str, Any]) -> None:
    """Show the plan of a run; where its data is missing, show what is known without it, then raise MissingError."""
    from debater_search import training

    missing = None
    try:
        plan = training.plan(settings, **arguments).as_dict()
    except MissingError as error:
        missing = error
        plan = training.plan(settings, **arguments, without_data=True).as_dict()
    if missing is not None:
        plan["missing"] = missing.message
    if out.as_json:
        out.json({"plan": plan, **translation})
    else:
        show_plan(out, plan)
    if missing is not None:
        raise missing  # it says what is missing
    wanting = [name for name, note in (("the data", plan["missing"]), ("the model", plan["assumed"])) if note]
    if wanting and not out.as_json:
        out.show(*(f"\n{note}" for note in (plan["missing"], plan["assumed"]) if note))
        out.show(f"\nA run cannot start yet: first get {' and '.join(wanting)}, as said above.")


def show_plan(out: Output, plan: dict[str, Any]) -> None:
    """What a training run would do, for people."""
    share = plan["trainable"] / plan["parameters"]
    unread = {name: f"; not read: {', '.join(fields)}" for name, fields in plan["ignored_fields"].items()}
    sets = [(f"  {name}", f"{rows:,} rows{unread.get(name, '')}") for name, rows in plan["sets"].items()]
    missing, rough = plan["missing"] is not None, plan["missing"] or plan["assumed"]
    examples = [("examples", f"{plan['rows']:,}, of which {plan['with_negatives']:,} have negatives"), *sets]
    examples = [("examples", "not known: data is missing")] if missing else examples
    epoch = "" if missing else f"; {plan['steps_per_epoch']:,} per epoch"
    together = f" in {plan['processes']} processes" if plan["processes"] > 1 else ""
    out.facts(
        [
            ("model", f"{plan['model']} ({plan['dtype']} on {plan['device']}{together})"),
            ("parameters", f"{plan['parameters']:,}, of which {plan['trainable']:,} are trained ({share:.1%})"),
            ("thinking steps", str(plan["thinking_steps"])),
            ("text in search", f"at most {plan['search_length']:,} tokens, special ones included; the rest is cut off"),
            *examples,
            ("steps", f"{plan['steps']:,}, of {plan['queries_per_step']:,} queries each{epoch}"),
            ("tokens per step", f"{'at most' if rough else 'about'} {plan['tokens_per_step']:,}"),
            ("memory", f"{_gigabytes(plan['memory_per_device'])} per device ({plan['dtype']} on {plan['device']})"),
            ("checkpoint", f"{plan['checkpoint_bytes'] / 1e6:,.1f} MB each"),
            ("output", plan["output"] + (f" ({plan['taken']})" if plan["taken"] else "")),
        ]
    )
    for example in plan["examples"]:
        tokens = example["tokens"]
        lines = [("query", f"{example['query']} ({tokens['query']} tokens)")]
        lines.append(("positive", f"{example['positive']} ({tokens['positive']} tokens)"))
        lines += [("negative", text) for text in example["negatives"][:1]]
        out.show(f"\nFirst row of {printable(example['set'])}, as the model reads it")
        out.facts(lines)
    _show_savings(out, plan)


def _show_savings(out: Output, plan: dict[str, Any]) -> None:
    """Show what to change about a run that needs more memory than there is."""
    need, has = plan["memory_per_device"], plan["device_memory"]
    if need <= has:
        return
    out.show(f"\nThe memory does not fit: {plan['device']} has {has / 1e9:,.1f} GB for each process.")
    if plan["device"] == "cpu" and plan["dtype"] == "float32":
        out.show("To plan for a GPU that computes in bfloat16, add precision=bf16.")
    if plan["savings"]:
        out.show("Add these settings, one after the other, until it does:")
        out.facts([(saving["setting"], _gigabytes(saving["memory_per_device"])) for saving in plan["savings"]])
    if min([need, *(saving["memory_per_device"] for saving in plan["savings"])]) > has:
        out.show("If it still does not fit, train a smaller model, or use a device with more memory.")


def _gigabytes(size: int) -> str:
    return f"about {size / 1e9:,.1f} GB"
