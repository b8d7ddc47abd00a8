"""Put an exported folder on the Hugging Face hub: that folder and nothing else, private by default."""

from pathlib import Path
from typing import Any

from debater_search.encoder.loading.hub import HUB_ID
from debater_search.errors import InvalidError, UnavailableError


def require_repository(name: str) -> None:
    """Raise InvalidError unless a name is owner/name."""
    if not HUB_ID.fullmatch(name) or name.startswith("."):
        raise InvalidError(f"{name!r} is not the name of a repository.", "Give owner/name.")


def push(folder: str | Path, repository: str, *, public: bool = False, client: Any = None) -> str:
    """Upload an exported folder to `repository` (owner/name), which is made if need be; returns its address.

    The token is the one of `hf auth login` or HF_TOKEN; it is never shown. `client` is a `huggingface_hub.HfApi`.

    Raises:
        InvalidError: the name is wrong, or a repository of this name is public and `public` is not set.
        UnavailableError: the hub refuses or cannot be reached.

    """
    require_repository(repository)
    if client is None:
        from huggingface_hub import HfApi

        client = HfApi()
    try:
        client.create_repo(repository, private=not public, exist_ok=True)
        if not public and not client.repo_info(repository).private:
            raise InvalidError(
                f"The repository {repository} exists and is public.", "Choose another name, or set `public`."
            )
        client.upload_folder(repo_id=repository, folder_path=str(folder), commit_message="Export by debater")
    except InvalidError:
        raise
    except Exception as error:  # the hub's client raises many kinds, whose texts may quote requests
        raise UnavailableError(
            f"The folder could not be uploaded to {repository} ({type(error).__name__}).",
            "Log in with `hf auth login`, and check the name, your rights and the network.",
        ) from None
    return f"https://huggingface.co/{repository}"
