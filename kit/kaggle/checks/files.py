"""Whether a dataset's files are what its manifest says: every byte of them, and nothing beside them.

In: a dataset, as it was built, as it is mounted, or as Kaggle mangled it. Out: a finding for every file that is
missing, cut short, altered or unlisted. Reads everything once, in parallel; memory stays flat.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit.errors import InputError
from kit.kaggle.checks.findings import Finding, error, warning
from kit.kaggle.dataset.handle import DatasetHandle
from kit.kaggle.dataset.manifest import MANIFEST_NAME, Entry, Manifest, is_intact
from kit.kaggle.dataset.mounted import Place, files_below, places
from kit.kaggle.dataset.rules import MAX_BYTES, MAX_FILES, METADATA_NAME
from kit.kaggle.transfer import sha256_of

REBUILD = "build the dataset again, and upload it again"
_BUFFER_BYTES = 1 << 20
_MAX_WORKERS = 8


@dataclass(frozen=True, slots=True)
class _Read:
    """A file to hash, and the places in it. sha256: of the whole, None where only the parts are known."""

    file: Path
    sha256: str | None
    within: tuple[Place, ...]


def check_files(
    dataset: Path, manifest: Manifest, *, on_bytes: Callable[[int], None] = lambda num_bytes: None
) -> tuple[Finding, ...]:
    """All that is wrong with the files; `on_bytes` is told, from any thread, how many more were read."""
    found = places(dataset, manifest)
    missing = [_missing(dataset, place) for place in found if place.file is None]
    with ThreadPoolExecutor(min(_MAX_WORKERS, os.cpu_count() or 1)) as pool:
        altered = [
            finding
            for findings in pool.map(lambda read: tuple(_check_read(read, on_bytes)), _reads(manifest, found))
            for finding in findings
        ]
    return (*_check_manifest(dataset), *missing, *altered, *_check_others(dataset, manifest, found))


def check_build(dataset: Path, manifest: Manifest) -> tuple[Finding, ...]:
    """What Kaggle or its client would refuse of a build; nothing for a mounted dataset, which has no metadata."""
    metadata = dataset / METADATA_NAME
    if not metadata.is_file():
        return ()
    sizes = {path: path.stat().st_size for path in files_below(dataset) if path != metadata}
    findings: list[Finding] = []
    if len(sizes) > MAX_FILES:
        findings.append(error(dataset, f"{len(sizes)} files, Kaggle takes {MAX_FILES}", REBUILD))
    if sum(sizes.values()) > MAX_BYTES:
        fix = "choose a smaller model, or attach it as a Kaggle Model with --model-source"
        findings.append(error(dataset, f"{sum(sizes.values()):,} bytes, Kaggle takes {MAX_BYTES:,}", fix))
    findings += [
        error(path, "lies in a folder, which the client does not upload", "move it out of the dataset")
        for path in sizes
        if path.parent != dataset
    ]
    return (*findings, *_check_metadata(metadata, manifest))


def _check_manifest(dataset: Path) -> Iterator[Finding]:
    if not is_intact(dataset):
        yield error(dataset / MANIFEST_NAME, "not byte for byte what was written", REBUILD)


def _missing(dataset: Path, place: Place) -> Finding:
    return error(dataset / place.expected, f"missing (holds {place.path})", REBUILD)


def _reads(manifest: Manifest, found: Sequence[Place]) -> list[_Read]:
    """Each file once, the largest first: an archive as a whole, with its members."""
    archives = {member.path: entry for entry in manifest.entries for member in entry.members}
    whole: dict[Path, tuple[Entry, list[Place]]] = {}
    reads: list[_Read] = []
    for place in found:
        if place.file is None:
            continue
        if place.offset_bytes is None:
            reads.append(_Read(place.file, place.sha256, (place,)))
        else:
            whole.setdefault(place.file, (archives[place.path], []))[1].append(place)
    reads += [_Read(file, entry.sha256, tuple(within)) for file, (entry, within) in whole.items()]
    return sorted(reads, key=lambda read: -sum(place.size_bytes for place in read.within))


def _check_read(read: _Read, on_bytes: Callable[[int], None]) -> Iterator[Finding]:
    first = read.within[0]
    size_bytes = read.file.stat().st_size
    if first.offset_bytes is None and size_bytes != first.size_bytes:
        yield error(read.file, f"{size_bytes:,} bytes, the manifest says {first.size_bytes:,}", REBUILD)
        return
    try:
        with read.file.open("rb") as file:
            sha256 = _hash_range(file, None, on_bytes)
    except OSError as fault:
        yield error(read.file, f"cannot be read ({fault.strerror})", "fix its rights, or copy it again")
        return
    if sha256 != read.sha256:
        yield error(read.file, f"its SHA-256 is not the manifest's{_blame(read)}", REBUILD)


def _blame(read: _Read) -> str:
    """Which members of an archive are altered; "" for any other file."""
    if read.within[0].offset_bytes is None:
        return ""
    altered = []
    with read.file.open("rb") as file:
        for place in read.within:
            file.seek(place.offset_bytes or 0)
            if _hash_range(file, place.size_bytes, lambda num_bytes: None) != place.sha256:
                altered.append(place.path)
    return f" (altered: {', '.join(altered)})" if altered else " (altered: between its members)"


def _hash_range(file: Any, num_bytes: int | None, on_bytes: Callable[[int], None]) -> str:
    """Hash so many bytes from where the file stands, None for all."""
    digest, left_bytes = hashlib.sha256(), num_bytes
    while chunk := file.read(_BUFFER_BYTES if left_bytes is None else min(_BUFFER_BYTES, left_bytes)):
        digest.update(chunk)
        on_bytes(len(chunk))
        left_bytes = None if left_bytes is None else left_bytes - len(chunk)
    return digest.hexdigest()


def _check_others(dataset: Path, manifest: Manifest, found: Iterable[Place]) -> Iterator[Finding]:
    """Files that the manifest does not know; a build with one is not uploaded."""
    known = {place.file for place in found} | {dataset / MANIFEST_NAME, dataset / METADATA_NAME}
    is_build = (dataset / METADATA_NAME).is_file()
    for path in files_below(dataset):
        if path not in known:
            judge = error if is_build else warning
            yield judge(path, "the manifest does not list it", "move it out of the dataset")


def _check_metadata(metadata: Path, manifest: Manifest) -> Iterator[Finding]:
    try:
        _destination(json.loads(metadata.read_bytes()))
    except InputError as fault:
        yield error(metadata, f"Kaggle's client would refuse it: {fault}", "fix it, or build the dataset again")
        return
    except (ValueError, KeyError, TypeError, AttributeError) as fault:
        yield error(metadata, f"Kaggle's client cannot read it ({fault})", "build the dataset again")
        return
    if manifest.metadata_sha256 not in (None, sha256_of(metadata)):
        yield warning(metadata, "it was changed after the build", "nothing to do if that was you; else build again")


def _destination(content: Mapping[str, Any]) -> DatasetHandle:
    """Metadata by the client's own rules: title, slug, one licence (docs/kaggle.md#datasets)."""
    owner, slug = content["id"].split("/")
    (licence,) = content["licenses"]
    return DatasetHandle(owner=owner, slug=slug, title=content["title"], licence=licence["name"])
