"""Whether a dataset's files are what its manifest says: the one check, of `kit verify`, the upload and the restoring.

In: a dataset, as it was built, as it is mounted, or as Kaggle mangled it. Out: a finding for every file that is
missing, cut short, altered or unlisted; of a build also for what Kaggle or its client would refuse. Findings are made
as they are asked for, those that cost nothing first. Each file is read once, in parallel; memory stays flat.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

from kit.errors import MissingError
from kit.kaggle import facts
from kit.kaggle.dataset.manifest import MANIFEST_NAME, Manifest, is_intact
from kit.kaggle.dataset.mounted import Place, files_below, places
from kit.kaggle.findings import Finding, error, warning

REBUILD = "build the dataset again with `kit build`, and upload it again"
_MOVE = "move it out of the dataset"
_BUFFER_BYTES = 1 << 20
_MAX_WORKERS = 8

Findings = Generator[Finding, None, None]


def check_dataset(
    dataset: Path, manifest: Manifest, *, is_build: bool, on_bytes: Callable[[int], None] = lambda num_bytes: None
) -> Findings:
    """All that is wrong with it. is_build: it is to be uploaded, which a mounted one is not.

    on_bytes: told, from any thread, how many more were read.
    """
    found = places(dataset, manifest)
    if not is_intact(dataset):
        yield error(dataset / MANIFEST_NAME, "not byte for byte what was written", REBUILD)
    if is_build:
        yield from _check_uploadable(dataset, manifest)
    known = {place.file for place in found} | {dataset / MANIFEST_NAME, dataset / facts.DATASET_METADATA}
    for path in files_below(dataset):
        if path not in known:
            yield (error if is_build else warning)(path, "the manifest does not list it", _MOVE)
    yield from check_files(dataset, found, on_bytes=on_bytes)


def check_files(
    dataset: Path,
    found: Sequence[Place],
    *,
    max_hashed_bytes: int | None = None,
    on_bytes: Callable[[int], None] = lambda num_bytes: None,
) -> Findings:
    """What is missing, cut short or altered of the files at these places.

    max_hashed_bytes: larger files, and archives of any size, are not read; None reads everything.
    """
    within: dict[tuple[Path, int, str], list[Place]] = {}
    for place in found:
        if place.file is None:
            problem = f"missing (holds {place.path})"
            yield error(dataset / place.expected, problem, REBUILD, kind=MissingError)
        else:
            within.setdefault((place.file, place.file_bytes, place.file_sha256), []).append(place)
    to_read: list[tuple[Path, list[Place]]] = []
    for (file, file_bytes, _), inside in within.items():
        size_bytes = file.stat().st_size
        if size_bytes != file_bytes:
            yield error(file, f"{size_bytes:,} bytes, the manifest says {file_bytes:,}", REBUILD)
        elif max_hashed_bytes is None or (size_bytes <= max_hashed_bytes and inside[0].offset_bytes is None):
            to_read.append((file, inside))
    yield from _altered(sorted(to_read, key=lambda read: -read[1][0].file_bytes), on_bytes)


def sha256_of_range(file: IO[bytes], num_bytes: int, on_chunk: Callable[[bytes], object]) -> str:
    """Read so many bytes from where the file stands, fewer at its end, and hand them on."""
    digest, left_bytes = hashlib.sha256(), num_bytes
    while left_bytes and (chunk := file.read(min(_BUFFER_BYTES, left_bytes))):
        digest.update(chunk)
        on_chunk(chunk)
        left_bytes -= len(chunk)
    return digest.hexdigest()


def _altered(to_read: Sequence[tuple[Path, Sequence[Place]]], on_bytes: Callable[[int], None]) -> Iterator[Finding]:
    """Read files, each with the places within it, in parallel."""
    pool = ThreadPoolExecutor(min(_MAX_WORKERS, os.cpu_count() or 1))
    try:
        for findings in pool.map(lambda read: tuple(_check_content(read[0], read[1], on_bytes)), to_read):
            yield from findings
    finally:  # the reader may have had enough of the first finding
        pool.shutdown(cancel_futures=True)


def _check_uploadable(dataset: Path, manifest: Manifest) -> Iterator[Finding]:
    """What Kaggle or its client would leave out, merge or refuse."""
    for entry in manifest.entries:
        if entry.file in facts.NOT_UPLOADED:
            yield error(dataset / entry.file, "the Kaggle client never uploads a file of this name", "give it another")
    present = [path for path in sorted(dataset.iterdir()) if path.name != facts.DATASET_METADATA]
    on_kaggle: dict[str, str] = {}
    for path in present:
        if path.is_symlink() or not path.is_file():
            yield error(path, "not a plain file, and the Kaggle client uploads nothing else", _MOVE)
        name = facts.name_on_kaggle(path.name)
        other = on_kaggle.setdefault(name, path.name)
        if other != path.name:
            yield error(path, f"Kaggle would give it and {other} one name, {name}", "rename one")
    if len(present) > facts.MAX_FILES:
        yield error(dataset, f"{len(present)} files, Kaggle takes {facts.MAX_FILES}", "put some into an archive")
    total_bytes = sum(path.stat().st_size for path in present if path.is_file())
    if total_bytes > facts.MAX_BYTES:
        fix = "choose a smaller model, or attach it as a Kaggle Model with --model-source"
        yield error(dataset, f"{total_bytes:,} bytes, Kaggle takes {facts.MAX_BYTES:,}", fix)


def _check_content(file: Path, within: Sequence[Place], on_bytes: Callable[[int], None]) -> Iterator[Finding]:
    try:
        with file.open("rb") as content:
            sha256 = sha256_of_range(content, within[0].file_bytes, lambda chunk: on_bytes(len(chunk)))
    except OSError as fault:
        yield error(file, f"cannot be read ({fault.strerror})", "fix its rights, or copy it again")
        return
    if sha256 != within[0].file_sha256:
        yield error(file, f"its SHA-256 is not the manifest's{_blame(file, within)}", REBUILD)


def _blame(file: Path, within: Sequence[Place]) -> str:
    """Which members of an archive are altered; "" for any other file."""
    if within[0].offset_bytes is None:
        return ""
    altered = []
    with file.open("rb") as content:
        for place in within:
            content.seek(place.offset_bytes or 0)
            if sha256_of_range(content, place.size_bytes, lambda chunk: None) != place.sha256:
                altered.append(place.path)
    return f" (altered: {', '.join(altered)})" if altered else " (altered: between its members)"
