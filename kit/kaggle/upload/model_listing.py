"""What a Kaggle Model holds, as Kaggle lists it: names and sizes, without downloading it."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from kit.kaggle.dataset.manifest import ListedFile
from kit.kaggle.dataset.mounted import check_ref
from kit.kaggle.upload.account import client_with
from kit.kaggle.upload.client import check_installed
from kit.kaggle.upload.credentials import find_credentials

_STALL_S = 60.0


def list_model(ref: str, *, environ: Mapping[str, str]) -> tuple[ListedFile, ...]:
    """The files right in a version of a Kaggle Model, by name; those in folders below are of no use to an engine.

    Raises: InputError for what names no version; MissingError (no credentials, no client); KaggleError.
    """
    check_ref(ref)
    credentials = find_credentials(environ)
    check_installed()
    with (
        tempfile.TemporaryDirectory() as folder,
        client_with(credentials, Path(folder), environ=environ, stall_s=_STALL_S) as client,
    ):
        sizes = client.model_files(ref)
    return tuple(ListedFile(file=name, size_bytes=size) for name, size in sorted(sizes.items()) if "/" not in name)
