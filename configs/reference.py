"""Write REFERENCE.md, the list of all training settings, from their schema: `make reference`."""

from pathlib import Path

from debater_search.schema import schema_reference
from debater_search.training import TrainingSettings

INTRODUCTION = """# Training settings

What a config file for `debater train` may say; made from the schema by `make reference`. A setting can be replaced on
the command line: `debater train configs/demo.yaml learning_rate=1e-4 loss.scale=20 data.0.weight=2`. Numbers in dotted
names count into a list. Paths of data and evaluation tasks are relative to the config file, `output` to the working
directory.

"""

if __name__ == "__main__":
    target = Path(__file__).with_name("REFERENCE.md")
    target.write_text(INTRODUCTION + schema_reference(TrainingSettings), encoding="utf-8")
