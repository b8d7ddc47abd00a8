"""`debater verify`: is every file of an index what it was when it was written?"""

from typing import Annotated

import typer

from debater_search.cli.change import Moved
from debater_search.cli.errors import MISTAKE
from debater_search.cli.index_option import Index
from debater_search.cli.options import Device, Json, examples
from debater_search.cli.output import results
from debater_search.errors import DamagedError

EXAMPLES = examples("debater verify indexes/cranfield", "debater verify indexes/cranfield --repair")


def verify(
    index: Index,
    repair: Annotated[bool, typer.Option("--repair", help="Encode and build damaged parts again.")] = False,
    model: Moved = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Check every file of an index against its hash, or repair it."""
    with results(as_json) as out:
        from debater_search.indexing import verify as check
        from debater_search.store.manifest import MEND

        found = check(index, repair=repair, model=model, device=device, show=True)
        if as_json:
            out.json({"index": str(index), "files": found.files, "damaged": found.damaged, "repaired": found.repaired})
            raise typer.Exit(0 if found.sound else MISTAKE)
        if not found.sound:
            mend = f"Mend it: debater verify {index} --repair" if found.repairable else MEND
            raise DamagedError(f"Damaged files of {index}: {', '.join(found.damaged)}.", mend)
        if found.repaired:
            out.show(f"Repaired: {', '.join(found.repaired)}.")
        return out.show(f"All {found.files} files of {index} are sound.")
