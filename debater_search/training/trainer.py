"""`train`: where a run goes, on how many processes, from which step.

What is heavy is imported inside the functions: mistakes are found before torch is loaded.
"""

import json
from contextlib import ExitStack
from pathlib import Path

from debater_search.errors import InvalidError
from debater_search.locks import writing
from debater_search.processes import in_a_group, is_main_process
from debater_search.training import run_folder
from debater_search.training.batches import TrainingData
from debater_search.training.checks import check, require_shares
from debater_search.training.config_file import load_config
from debater_search.training.settings import TrainingSettings


def train(
    config: TrainingSettings | str | Path,
    *,
    output: str | Path | None = None,
    resume: bool = False,
    force: bool = False,
    device: str = "auto",
    processes: int | None = None,
    progress: bool = False,
) -> Path:
    """Train an encoder; returns the checkpoint's folder.

    Args:
        config: settings, or the path of a config file.
        output: instead of the config's own.
        resume: go on from the newest complete checkpoint in the output folder.
        force: start over where the output folder holds a run; with `resume`, go on with a changed config.
        device: as for `Encoder.load`.
        processes: how many to start on this machine; None: one a GPU. Under torchrun this process joins its group.
        progress: show a line with step, losses, rate and time left on stderr.

    Raises:
        DebaterError: a config or data mistake, an output folder that is not free, a loss that is not a number, a
            process that died.

    Examples:
        >>> from debater_search.training import train
        >>> train("train.yaml", output="checkpoints/trained").name
        'trained'
        >>> Encoder.load("checkpoints/trained").thinking_steps
        3
    """
    settings = config if isinstance(config, TrainingSettings) else load_config(config, output=output)
    check(settings, output=output, resume=resume, force=force, processes=processes, device=device)
    from debater_search.training.gather import world_size
    from debater_search.training.launch import joined, launch, processes_for

    folder = Path(output or settings.output)
    if in_a_group():
        with joined(device) as own:
            require_shares(settings, world_size())
            return _train(
                settings, folder, resume=resume, force=force, device=own, progress=progress and is_main_process()
            )
    count = processes_for(settings, processes, device)
    if count == 1:
        return _train(settings, folder, resume=resume, force=force, device=device, progress=progress)
    # Mistakes are found, and data is indexed, before processes are started that would all do so.
    if run_folder.is_finished(folder, settings, resume=resume, force=force):
        return folder
    TrainingData(settings)
    launch(
        count,
        {
            "config": json.loads(settings.model_dump_json(exclude_unset=True)),
            "output": str(folder),
            "resume": resume,
            "force": force,
            "device": device,
            "progress": progress,
        },
    )
    return folder


def _train(settings: TrainingSettings, folder: Path, *, resume: bool, force: bool, device: str, progress: bool) -> Path:
    """Train in this process, which may be one of a group."""
    from debater_search.training.gather import of_first
    from debater_search.training.run import Run

    if of_first(run_folder.is_finished(folder, settings, resume=resume, force=force)):
        return folder
    resume_from = _checkpoint_of_all(folder) if resume else None
    run = Run(settings, folder, device, progress, resume_from)  # finds mistakes before anything is dropped
    if resume_from is not None and settings.epochs is not None:  # their steps are known once the data is read
        run_folder.require_steps(folder, run.horizon.steps, "epochs")
    if resume_from is not None and not force:
        run_folder.require_same_data(resume_from, run.provenance)
    run.parallel.wait()  # all processes have seen the folder as it was
    with ExitStack() as alone:
        if run.parallel.is_main:
            folder.mkdir(parents=True, exist_ok=True)
            alone.enter_context(writing(folder))
            if resume_from is None:
                run_folder.clear(folder)
        run.parallel.wait()
        return run.go()


def _checkpoint_of_all(folder: Path) -> Path | None:
    """The checkpoint to resume from, which the first process chooses.

    Raises InvalidError if another process does not see it, on a machine that does not share the output folder.
    """
    from debater_search.training.gather import agreed, of_first

    newest = run_folder.newest_complete(folder)
    name = of_first(newest.name if newest is not None else None)
    if name is None:
        return None
    if not agreed(int(run_folder.is_complete(folder / name)), least=True):
        raise InvalidError(
            f"Some processes do not find the checkpoint {folder / name}.",
            "Put `output` on a disk that all machines share, or copy the checkpoint to each of them.",
        )
    return folder / name
