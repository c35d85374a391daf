"""A built dataset as it is sent to Kaggle: checked against its manifest, staged for the client, or in one archive.

In: the folder that `dataset.bundle.build` made. Out: its files by size, a folder of links with the client's
`dataset-metadata.json`, an archive for uploading by hand, and what Kaggle's own list says differently.

Nothing is ever written into the dataset's folder. Kaggle's limits and habits: docs/kaggle.md#datasets.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from kit.errors import InputError, MissingError, StorageError, cannot_write
from kit.kaggle.dataset.manifest import MANIFEST_NAME, Entry, load_manifest
from kit.kaggle.dataset.rules import MAX_BYTES, MAX_FILES, METADATA_NAME, UNPACKED, name_on_kaggle
from kit.kaggle.transfer import sha256_of
from kit.kaggle.upload.credentials import Credentials

_NOT_UPLOADED = (
    *(METADATA_NAME, "datapackage.json", "kernel-metadata.json", "model-metadata.json"),
    *("model-instance-metadata.json", *(f"dataset-cover-image.{each}" for each in ("png", "jpg", "jpeg", "webp"))),
)  # the client keeps these for itself, without a word
_MAX_SEARCHED_BYTES = 16 << 20  # a secret stands in a small file, not in weights
_NUM_HASHERS = 4  # hashing frees the interpreter, and one core does about 1 GB/s
_EPOCH = (2020, 1, 1, 0, 0, 0)
_CHUNK_BYTES = 1 << 20
_REBUILD = "build the dataset again with `python build_dataset.py`"


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
    # The metadata are the client's own; they are written anew for the handle.
    present = {path.name: path for path in sorted(folder.iterdir()) if path.name != METADATA_NAME}
    listed = {entry.file: entry for entry in manifest.entries}
    _check_names(folder, present, listed)
    sizes = {name: path.stat().st_size for name, path in present.items()}
    _check_limits(folder, sizes)
    _check_hashes(folder, listed, sizes, on_progress)
    if credentials is not None:
        _check_secrets(present, sizes, credentials)
    return StagedDataset(folder=folder, sizes_bytes=sizes, manifest_sha256=sha256_of(folder / MANIFEST_NAME))


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
        (into / METADATA_NAME).write_text(json.dumps(metadata, indent=1), encoding="utf-8")
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
        free_bytes = shutil.disk_usage(out.parent).free
        if free_bytes < staged.size_bytes:
            fix = "free some disk, or upload without --no-upload"
            raise StorageError(f"{out}: needs {staged.size_bytes:,} bytes, {free_bytes:,} are free; {fix}")
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


def _check_names(folder: Path, present: Mapping[str, Path], listed: Mapping[str, Entry]) -> None:
    for name in listed:
        if name in _NOT_UPLOADED:
            raise InputError(f"{folder / name}: the Kaggle client never uploads a file of this name; give it another")
        if name not in present:
            raise MissingError(f"{folder / name}: missing, but the manifest lists it; {_REBUILD}")
    on_kaggle: dict[str, str] = {}
    for name, path in present.items():
        if path.is_symlink() or not path.is_file():
            raise InputError(f"{path}: not a plain file, and nothing else can be uploaded; move it, or {_REBUILD}")
        if name != MANIFEST_NAME and name not in listed:
            raise InputError(f"{path}: the manifest does not list it, so it is not uploaded; move it out of the folder")
        other = on_kaggle.setdefault(name_on_kaggle(name), name)
        if other != name:
            raise InputError(f"{path}: Kaggle would give it and {other} one name, {name_on_kaggle(name)}; rename one")


def _check_limits(folder: Path, sizes: Mapping[str, int]) -> None:
    if len(sizes) > MAX_FILES:
        raise InputError(f"{folder}: {len(sizes)} files, Kaggle takes {MAX_FILES}; put some into an archive")
    if sum(sizes.values()) > MAX_BYTES:
        raise InputError(f"{folder}: {sum(sizes.values()):,} bytes, Kaggle takes {MAX_BYTES:,}; choose a smaller model")


def _check_hashes(
    folder: Path, listed: Mapping[str, Entry], sizes: Mapping[str, int], on_progress: Callable[[int, int], None]
) -> None:
    for name, entry in listed.items():
        if sizes[name] != entry.size_bytes:
            said = f"{sizes[name]:,} bytes, the manifest says {entry.size_bytes:,}"
            raise InputError(f"{folder / name}: {said}; {_REBUILD}")
    done_bytes, total_bytes = 0, sum(entry.size_bytes for entry in listed.values())
    with ThreadPoolExecutor(_NUM_HASHERS) as pool:
        hashes = pool.map(sha256_of, (folder / name for name in listed))
        for (name, entry), sha256 in zip(listed.items(), hashes, strict=True):
            if sha256 != entry.sha256:
                pool.shutdown(wait=False, cancel_futures=True)
                raise InputError(f"{folder / name}: its SHA-256 is not the manifest's; {_REBUILD}")
            done_bytes += entry.size_bytes
            on_progress(done_bytes, total_bytes)


def _check_secrets(present: Mapping[str, Path], sizes: Mapping[str, int], credentials: Credentials) -> None:
    for name, path in present.items():
        if sizes[name] <= _MAX_SEARCHED_BYTES and credentials.found_in(path.read_bytes()):
            fix = "take it out, build again, and make a new key if it was ever shared"
            raise InputError(f"{path}: holds your Kaggle credentials; {fix}")


def _add(archive: zipfile.ZipFile, path: Path) -> None:
    entry = zipfile.ZipInfo(path.name, _EPOCH)
    entry.external_attr = 0o644 << 16
    entry.file_size = path.stat().st_size  # so that one beyond 4 GB is written in the form that holds it
    with path.open("rb") as source, archive.open(entry, "w", force_zip64=entry.file_size > 2**31) as target:
        shutil.copyfileobj(source, target, _CHUNK_BYTES)
