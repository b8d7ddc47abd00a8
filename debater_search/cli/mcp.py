"""`debater mcp`: let an agent search indexes."""

from debater_search.cli.index_option import Indexes
from debater_search.cli.interrupts import leaving_at_once
from debater_search.cli.options import INDEXES, Device, examples
from debater_search.cli.output import results

EXAMPLES = examples("debater mcp", "debater mcp indexes/papers indexes/notes")


def mcp(
    indexes: Indexes = None,
    device: Device = "auto",
) -> None:
    """Let agents search indexes: MCP on standard input and output.

    Agents start this command themselves: name it in their settings. `debater serve` does the same over HTTP.
    """
    with results(False) as out:
        from debater_search.serving import Settings, require_libraries
        from debater_search.store.folders import all_indexes

        folders = indexes or all_indexes(INDEXES)
        require_libraries()
        from debater_search.serving.mcp import serve_stdio

        with leaving_at_once():
            serve_stdio(folders, Settings(device=device), out.stream)
