"""What is attached to the notebook beside the dataset: a Kaggle Model, and wheels that another notebook fetched.

In: where things are mounted, and what the manifest expects of them. Out: folders, or what is wrong in words that name
the version that is there and the one that the dataset was built for. Both of Kaggle's mount layouts are met. A model is
known by its files, as they were listed when it was named, else by its path; wheels by their manifest and the hash of
their lock. Nothing is read but names, sizes and the model's config.json.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kit.errors import InputError, MissingError
from kit.kaggle.dataset.folders import walk
from kit.kaggle.dataset.manifest import WHEELS_MANIFEST_NAME, ListedFile, ModelSource, WheelSet, load_manifest
from kit.kaggle.transfer import sha256_of

log = logging.getLogger(__name__)

_CONFIG, _WEIGHTS = "config.json", ".safetensors"


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A folder that may be the model. version: by its path, if that names the model; else None."""

    folder: Path
    version: str | None
    lacks: tuple[ListedFile, ...]


def find_model(mounts: Path, source: ModelSource) -> Path:
    """The folder of an attached Kaggle Model; of several that fit, one whose path names the very version.

    Another version that holds the listed files is taken, and logged as such.
    Raises: MissingError that names what is attached in its place, if anything is.
    """
    found = [_candidate(folder, source) for folder in _model_folders(mounts)]
    asked = source.ref.rpartition("/")[2]
    found.sort(key=lambda each: (each.version != asked, each.version is None, each.folder))
    named = [each for each in found if each.version is not None]
    fitting = [each for each in (found if source.files else named) if not each.lacks]
    fitting = fitting if source.files else [each for each in fitting if each.version == asked]
    if fitting:
        if fitting[0].version not in (None, asked):
            log.warning("%s", _other_version(source, fitting[0], "it holds the files that were listed"))
        return fitting[0].folder
    if not named:
        raise MissingError(f"{mounts}: no Kaggle Model {source.ref} is attached; add it to the notebook's inputs")
    if named[0].version != asked:
        raise MissingError(_other_version(source, named[0], f"attach {source.ref}, or build the dataset for that one"))
    file = named[0].folder / named[0].lacks[0].file
    raise MissingError(f"{file}: not the file the dataset was built for; attach {source.ref} itself")


def find_wheels(mounts: Path, wheels: WheelSet, lock_sha256: str) -> Path:
    """The folder of the wheels of this very lock, by their own manifest.

    Raises: MissingError that says what is attached in their place, if anything is.
    """
    others = []
    for folder in (path for path, files in walk(mounts) if WHEELS_MANIFEST_NAME in files):
        try:
            manifest = load_manifest(folder, name=WHEELS_MANIFEST_NAME)
        except InputError as error:
            others.append(str(error))
            continue
        if any(entry.sha256 == lock_sha256 for entry in manifest.entries if manifest.wheels is not None):
            return folder
        others.append(f"{folder}: wheels of {'no' if manifest.wheels is None else manifest.wheels.target}")
    fix = f"run `kit push-wheels --target {wheels.target}`, and attach the output of {wheels.source}"
    if others:
        raise MissingError(f"{others[0]}: not of the lock that the dataset was built for, {wheels.target}; {fix}")
    raise MissingError(f"{mounts}: no wheels of {wheels.target} are attached; {fix}")


def _other_version(source: ModelSource, found: _Candidate, then: str) -> str:
    asked = source.ref.rpartition("/")[2]
    return f"{found.folder}: version {found.version} of {source.ref} is attached, built for was version {asked}; {then}"


def _model_folders(mounts: Path) -> list[Path]:
    return [path for path, files in walk(mounts) if any(file == _CONFIG or file.endswith(_WEIGHTS) for file in files)]


def _candidate(folder: Path, source: ModelSource) -> _Candidate:
    return _Candidate(folder, _version(folder, source.ref), tuple(_lacks(folder, source.files)))


def _version(folder: Path, ref: str) -> str | None:
    """The version if the path holds model/framework/variation/version in a row; Kaggle writes them in either case."""
    wanted = [part.casefold() for part in ref.split("/")[1:-1]]
    parts = [part.casefold() for part in folder.parts]
    for begin in range(len(parts) - len(wanted)):
        version = parts[begin + len(wanted)]
        if parts[begin : begin + len(wanted)] == wanted and version.isdecimal():
            return version
    return None


def _lacks(folder: Path, files: Sequence[ListedFile]) -> Iterator[ListedFile]:
    """The files that the folder does not hold in the size that is recorded; of the config the content counts, too."""
    for file in files:
        path = folder / file.file
        is_there = path.is_file() and path.stat().st_size == file.size_bytes
        is_other = is_there and file.file == _CONFIG and file.sha256 not in (None, sha256_of(path))
        if is_other or not is_there:
            yield file
