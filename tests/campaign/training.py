"""kill -9 at a random moment of training: the same command with --resume ends in the weights of an undisturbed run."""

import json
from pathlib import Path
from random import Random

from tests.campaign.trials import Outcome, child
from tests.conftest import save_random_model

STEPS = 6


class TrainingKills:
    """See the module. It needs torch, and takes seconds a trial."""

    name, target = "training", 60

    def prepare(self, place: Path) -> None:
        """A tiny model, rows, and the weights that an undisturbed run ends in."""
        import torch

        torch.set_num_threads(1)
        rows = [
            {"query": f"what of {n}", "positive": f"number {n} " * 3, "negative": f"number {n + 1}"} for n in range(40)
        ]
        (place / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        (place / "model").mkdir()
        save_random_model("bert", place / "model")
        self._place = place
        ended = child(lambda: self._train(place / "whole"), patience=300)
        if ended.refused or ended.failure:
            raise RuntimeError(ended.refused or ended.failure)
        self._weights = weights_in(place / "whole")

    def trial(self, random: Random, place: Path) -> Outcome:
        """Kill a run one to three times, then let it end."""
        kills = 0
        for _ in range(random.randint(1, 3)):
            if random.random() < 0.5:
                ended = child(lambda: self._train(place / "out"), step=random.randrange(1, 600), patience=300)
            else:
                ended = child(lambda: self._train(place / "out"), after=random.uniform(0, 2))
            kills += ended.killed
            if ended.refused or ended.failure:
                return Outcome("train", ended.refused or ended.failure, kills)
        ended = child(lambda: self._train(place / "out"), patience=300)
        if ended.refused or ended.failure:
            return Outcome("train", f"again: {ended.refused or ended.failure}", kills)
        return Outcome("train", None if weights_in(place / "out") == self._weights else "other weights", kills)

    def _train(self, output: Path) -> None:
        from debater_search.training import TrainingSettings, train

        settings = {
            "model": str(self._place / "model"), "thinking_steps": 2,
            "data": [{"path": str(self._place / "rows.jsonl")}],
            "lora": {"r": 2, "alpha": 4, "dropout": 0.1}, "max_length": {"query": 32, "document": 60},
            "batch_size": 4, "max_steps": STEPS, "save_steps": 2, "warmup_steps": 1, "report_to": [],
            "output": str(output),
        }  # fmt: skip
        train(TrainingSettings.model_validate(settings), resume=True, device="cpu")


def weights_in(folder: Path) -> bytes:
    """The weights that a run has learned."""
    return (folder / "adapter_model.safetensors").read_bytes()
