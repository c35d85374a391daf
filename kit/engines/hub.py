"""A model by its folder or by its id on Hugging Face's hub: either in, a local folder out.

What was fetched lies in the hub's own cache, and is not fetched again. Weights are safetensors only, and no Python code
of a model is taken.
"""

from __future__ import annotations

import re
from pathlib import Path

from kit.errors import InputError, MissingError

_ID = re.compile(r"[\w.-]+/[\w.-]+")
_FILES = ("*.safetensors", "*.json", "*.jinja", "*.model", "merges.txt", "*.tiktoken")


def find_model(named: str, *, revision: str | None = None) -> Path:
    """The folder of a model. named: a folder, or `owner/name` on the hub; a folder of that name wins.

    revision: a commit, branch or tag of the hub's; None: the newest.

    Raises: MissingError for what is neither, or cannot be fetched; InputError for an empty name.
    """
    if not named.strip():
        raise InputError("the model's name is empty; give a folder, or an id on the hub such as Qwen/Qwen3-0.6B")
    folder = Path(named).expanduser()
    if folder.exists() or not is_hub_id(named):
        return folder  # whoever opens it says what is missing
    return _fetched(named, revision)


def is_hub_id(named: str) -> bool:
    """Whether this could be `owner/name` on the hub."""
    return _ID.fullmatch(named) is not None and not named.startswith(".")


def _fetched(named: str, revision: str | None) -> Path:
    try:
        from huggingface_hub import snapshot_download
    except ModuleNotFoundError as error:
        raise MissingError(f"no hub: {error.name} is not installed; pip install 'mathllm-kit[torch]'") from error
    try:
        return Path(snapshot_download(named, revision=revision, allow_patterns=list(_FILES)))
    # broad enough for what its HTTP clients raise, old and new: no such model, no network, no rights, offline by switch
    except (OSError, ValueError, RuntimeError) as error:
        cause = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise MissingError(
            f"{named}: no such folder here, and the hub does not give it ({cause}); check the name and the network, "
            "unset HF_HUB_OFFLINE, or copy the model's folder here"
        ) from error
