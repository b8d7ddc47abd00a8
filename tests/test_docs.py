"""The documents say what the program does."""

import re
from pathlib import Path

import pytest

from debater_search.cli.commands import COMMANDS
from debater_search.schema import schema_reference
from debater_search.training import TrainingSettings

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_config_reference_is_the_schemas() -> None:
    reference = (ROOT / "configs" / "REFERENCE.md").read_text(encoding="utf-8")
    assert schema_reference(TrainingSettings) in reference, "run: make reference"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_in_the_readme(command: str) -> None:
    assert f"debater {command}" in README


@pytest.mark.parametrize(
    "document",
    [
        "README.md",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "RELEASING.md",
        "data/README.md",
        "benchmarks/README.md",
        "docs/agents.md",
        "docs/families.md",
    ],
)
def test_links_between_documents_lead_somewhere(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text) + re.findall(r'src="([^"]+)"', text):
        assert target.startswith("http") or (ROOT / document).parent.joinpath(target).exists(), target
