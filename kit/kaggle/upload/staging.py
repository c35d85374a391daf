"""A built dataset as it is sent to Kaggle: checked against its manifest, staged for the client, or in one archive.

In: the folder that `dataset.bundle.build` made. Out: its files by size, a folder of links with the client's
`dataset-metadata.json`, an archive for uploading by hand, and what Kaggle's own list says differently.

Nothing is ever written into the dataset's folder. Kaggle's limits and habits: docs/kaggle.md#datasets.
"""

from __future__ import annotations

import json
import shutil
import threading
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from kit.errors import InputError, StorageError, cannot_write
from kit.kaggle.dataset.integrity import check_dataset
from kit.kaggle.dataset.manifest import MANIFEST_NAME, load_manifest
from kit.kaggle.facts import DATASET_METADATA, UNPACKED, name_on_kaggle
from kit.kaggle.findings import raise_first
from kit.kaggle.transfer import check_space, sha256_of
from kit.kaggle.upload.credentials import Credentials

_MAX_SEARCHED_BYTES = 16 << 20  # a secret stands in a small file, not in weights
_EPOCH = (2020, 1, 1, 0, 0, 0)
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedDataset:
    """A dataset whose files are what its manifest says. sizes_bytes: of all of them, the manifest too, by name."""

    folder: Path
    sizes_bytes: Mapping[str, int]
    manifest_sha256: str

    @property
    def size_bytes(self) -> int:
        """Bytes of all files."""
        return sum(self.sizes_bytes.values())


def check_dataset_folder(
    folder: Path, *, credentials: Credentials | None, on_progress: Callable[[int, int], None] = lambda *_: None
) -> StagedDataset:
    """Read all of the dataset and compare it with its manifest; `on_progress` is told (bytes read, bytes in all).

    Raises: MissingError or InputError naming the first file that is missing, altered, unlisted, unfit for Kaggle,
    or that holds one of the `credentials`.
    """
    manifest = load_manifest(folder)
    total_bytes, done_bytes, lock = sum(entry.size_bytes for entry in manifest.entries), 0, threading.Lock()

    def tell(num_bytes: int) -> None:
        nonlocal done_bytes
        with lock:  # called from any thread
            done_bytes += num_bytes
            on_progress(done_bytes, total_bytes)

    raise_first(check_dataset(folder, manifest, is_build=True, on_bytes=tell))
    # The metadata are the client's own; they are written anew for the handle.
    files = {path.name: path for path in sorted(folder.iterdir()) if path.name != DATASET_METADATA}
    if credentials is not None:
        _check_secrets(files.values(), credentials)
    sizes_bytes = {name: path.stat().st_size for name, path in files.items()}
    return StagedDataset(folder=folder, sizes_bytes=sizes_bytes, manifest_sha256=sha256_of(folder / MANIFEST_NAME))


def stage(staged: StagedDataset, into: Path, metadata: Mapping[str, object]) -> None:
    """Make `into` what the client uploads: links to the files, and its metadata.

    The client tells a file by the path it was given, its size and its time, so the links are always the same.
    Raises: StorageError if it cannot be written.
    """
    try:
        shutil.rmtree(into, ignore_errors=True)
        into.mkdir(parents=True)
        for name in staged.sizes_bytes:
            (into / name).symlink_to((staged.folder / name).resolve())
        (into / DATASET_METADATA).write_text(json.dumps(metadata, indent=1), encoding="utf-8")
    except OSError as error:
        raise cannot_write(into, error) from error


def write_archive(
    staged: StagedDataset, out: Path, *, on_progress: Callable[[int, int], None] = lambda *_: None
) -> None:
    """Write the dataset as one zip, stored and not packed; the same dataset gives the same bytes.

    Raises: StorageError if it cannot be written; a half-written one never bears the name.
    """
    partial = out.with_name(f"{out.name}.partial")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        check_space(out, staged.size_bytes, purpose="write", fix="free some disk, or upload without --no-upload")
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
            done_bytes = 0
            for name, size_bytes in staged.sizes_bytes.items():
                _add(archive, staged.folder / name)
                done_bytes += size_bytes
                on_progress(done_bytes, staged.size_bytes)
        partial.replace(out)
    except StorageError:
        raise
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise cannot_write(out, error) from error


def differences(sizes_bytes: Mapping[str, int], listed: Mapping[str, int]) -> tuple[str, ...]:
    """What Kaggle lists otherwise than what was sent, a line each; none if they agree.

    An archive may be listed as itself or as a folder of what was in it: Kaggle does both.
    """
    found: list[str] = []
    left = dict(listed)
    for name, size_bytes in sorted(sizes_bytes.items()):
        expected = name_on_kaggle(name)
        on_kaggle = left.pop(expected, None)
        inside = [each for each in left if each.startswith(f"{_stem(expected)}/")] if _stem(expected) else []
        for each in inside:
            del left[each]
        if on_kaggle is None and not inside:
            found.append(f"{expected} is missing")
        elif on_kaggle is not None and on_kaggle != size_bytes:
            found.append(f"{expected} has {on_kaggle:,} bytes instead of {size_bytes:,}")
    return (*found, *(f"{name} was not sent" for name in sorted(left)))


def _stem(name: str) -> str | None:
    return next((name.removesuffix(ending) for ending in UNPACKED if name.endswith(ending)), None)


def _check_secrets(files: Iterable[Path], credentials: Credentials) -> None:
    for path in files:
        if path.stat().st_size <= _MAX_SEARCHED_BYTES and credentials.found_in(path.read_bytes()):
            fix = "take it out, build again, and make a new key if it was ever shared"
            raise InputError(f"{path}: holds your Kaggle credentials; {fix}")


def _add(archive: zipfile.ZipFile, path: Path) -> None:
    entry = zipfile.ZipInfo(path.name, _EPOCH)
    entry.external_attr = 0o644 << 16
    entry.file_size = path.stat().st_size  # so that one beyond 4 GB is written in the form that holds it
    with path.open("rb") as source, archive.open(entry, "w", force_zip64=entry.file_size > 2**31) as target:
        shutil.copyfileobj(source, target, _CHUNK_BYTES)
