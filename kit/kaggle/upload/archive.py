"""A dataset as one archive, for uploading by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from kit.errors import MissingError
from kit.kaggle.dataset.handle import DatasetHandle
from kit.kaggle.upload.credentials import Credentials, find_credentials
from kit.kaggle.upload.plan import Event, Stage
from kit.kaggle.upload.staging import check_dataset_folder, write_archive


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """An archive that was written, and what is in it."""

    path: Path
    num_files: int
    size_bytes: int


def archive(
    dataset: Path, handle: DatasetHandle, *, environ: Mapping[str, str], on_event: Callable[[Event], None]
) -> Archive:
    """Write `<slug>.zip` beside the dataset; no credentials are needed, but they are kept out if there are any.

    Raises: as `check_dataset_folder` and `write_archive`.
    """

    def tell(text: str) -> Callable[[int, int], None]:
        return lambda done, total: on_event(Event(stage=Stage.CHECKING, text=text, done=done, total=total))

    path = dataset.resolve().with_name(f"{handle.slug}.zip")
    credentials = _credentials_if_any(environ)
    staged = check_dataset_folder(dataset, credentials=credentials, on_progress=tell("reading the dataset"))
    write_archive(staged, path, on_progress=tell("writing the archive"))
    return Archive(path=path, num_files=len(staged.sizes_bytes), size_bytes=staged.size_bytes)


def _credentials_if_any(environ: Mapping[str, str]) -> Credentials | None:
    try:
        return find_credentials(environ)
    except MissingError:
        return None
