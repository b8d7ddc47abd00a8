"""What can be wrong with a run before its data is read or a model is loaded: found in moments, without torch."""

import sys
from contextlib import nullcontext, suppress
from pathlib import Path

from debater_search.data.training_sources import training_source
from debater_search.encoder.arguments import require_arguments
from debater_search.encoder.loading.hub import require_model
from debater_search.errors import InvalidError, MissingError
from debater_search.evaluation.tasks import load_task
from debater_search.extras import require
from debater_search.processes import is_main_process
from debater_search.training.backbones import SIZES
from debater_search.training.batches import TrainingData
from debater_search.training.echo_data import require_any
from debater_search.training.run_folder import is_finished
from debater_search.training.settings import TrainingSettings


def check(
    settings: TrainingSettings,
    *,
    output: str | Path | None = None,
    resume: bool = False,
    force: bool = False,
    processes: int | None = None,
    dry_run: bool = False,
    device: str = "auto",
) -> None:
    """Raise DebaterError for what `train` with the same arguments would refuse, as far as that is known without torch.

    Data is read last, since that may take minutes the first time. A dry run says itself what is missing or taken, and
    plans with backbones whose sizes are known.
    """
    require_arguments(device=device)
    require_shares(settings, 1 if processes is None else processes)
    require_libraries(settings)
    if not dry_run:
        if is_finished(Path(output or settings.output), settings, resume=resume, force=force):
            return
        require_any([data.path for data in settings.data])
        for data in settings.data:
            training_source(data.path, data.corpus)
    if not (dry_run and settings.model in SIZES):
        require_model(settings.model, weights=not dry_run)
    if "torch" in sys.modules or not is_main_process():  # the run says the rest as soon, or another process
        return
    if settings.eval is not None:
        for task in settings.eval.tasks:
            load_task(task).qrels(settings.eval.split)
    with suppress(MissingError) if dry_run else nullcontext():
        TrainingData(settings)


def require_libraries(settings: TrainingSettings) -> None:
    """Raise UnavailableError, before hours of work, for a library that the run needs at its end."""
    require("matplotlib", extra="train")
    if settings.eval is not None:
        require("pytrec_eval", extra="train")
    if settings.quantize is not None:
        require("bitsandbytes", extra="quantize")


def require_shares(settings: TrainingSettings, processes: int) -> None:
    """Raise InvalidError if there are no processes, or some would have no part in a step."""
    if processes < 1:
        raise InvalidError(f"processes is {processes}.", "Use 1 or more.")
    if processes > settings.batch_size:
        raise InvalidError(
            f"There are more processes ({processes}) than queries in a batch ({settings.batch_size}).",
            "Raise batch_size or lower `processes`.",
        )
    if settings.warm_start is not None and processes > settings.warm_start.batch_size:
        raise InvalidError(
            f"There are more processes ({processes}) than texts in a step of the warm start "
            f"({settings.warm_start.batch_size}).",
            "Raise warm_start.batch_size or lower `processes`.",
        )
