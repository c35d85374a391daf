"""What a bundled dataset holds: each file's original path, its flat name, its size and SHA-256, and what made it.

The manifest is also the marker by which a mounted dataset is found (mount paths changed during 2026).
Kaggle strips `+`, `~` and `=` from file names and drops folders, so the flat names avoid all of them and
`restoring` restores the original paths. Source: docs/kaggle.md#datasets, docs/kaggle.md#mounts.

An entry is one file of the flat dataset: an original file, or an archive of several. The manifest ends with its own
hash, so that damage to itself is found too; only `kit verify` insists on it, a competition goes on with what can be
read.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from kit.errors import InputError, MissingError
from kit.json_text import read_json

MANIFEST_NAME = "kit-manifest.json"
WHEELS_MANIFEST_NAME = "kit-wheels.json"
"""Of wheels alone, which a notebook of `kit push-wheels` left as its output."""
FORMAT = 1
_DIGEST = "digest"
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A file within an archive. path: where it belongs. file: its name there. offset_bytes: where it begins."""

    path: str
    file: str
    size_bytes: int
    sha256: str
    offset_bytes: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of the dataset. path: where it belongs, relative, with `/`. file: its name in the flat dataset.

    members: of an archive, which itself belongs nowhere; none for any other file.
    """

    path: str
    file: str
    size_bytes: int
    sha256: str
    members: tuple[Member, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelSet:
    """The wheels of a dataset and the machine they are for. lock: the lock's path. versions: `name==version`.

    source: the notebook, `owner/slug`, whose output holds them; None if the dataset does.
    """

    target: str
    python: str
    glibc: str
    cuda: str | None
    lock: str
    versions: tuple[str, ...]
    source: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedFile:
    """A file of a Kaggle Model. file: its name. sha256: if the builder had it."""

    file: str
    size_bytes: int
    sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSource:
    """A model that stays out of the dataset and is attached as a Kaggle Model.

    ref: `owner/model/framework/variation/version`. files: what it holds, as it was listed when it was named; where
    nobody could list it (`is_listed`), the weights of the builder's copy, and without one none. The dataset's own files
    in the model's folder come besides, and in the place of its own.
    """

    ref: str
    files: tuple[ListedFile, ...] = ()
    is_listed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """All files of a dataset, sorted by path, and what made it.

    metadata_sha256: of dataset-metadata.json beside it, which Kaggle's client reads and never uploads.
    """

    kit_version: str
    commit: str
    entries: tuple[Entry, ...]
    wheels: WheelSet | None = None
    model_source: ModelSource | None = None
    metadata_sha256: str | None = None

    def paths(self) -> Iterator[str]:
        """Where every original file belongs."""
        for entry in self.entries:
            yield from (member.path for member in entry.members) if entry.members else (entry.path,)

    def save(self, folder: Path, *, name: str = MANIFEST_NAME) -> None:
        """Write the manifest into `folder`; the same content always gives the same bytes."""
        (folder / name).write_bytes(_rendered({"format": FORMAT, **asdict(self)}))


def load_manifest(folder: Path, *, name: str = MANIFEST_NAME) -> Manifest:
    """The manifest of the dataset, or of the wheels, in `folder`.

    Raises: MissingError if there is none; InputError if it is not one of this kit's, or names a file
    outside the dataset.
    """
    path = folder / name
    try:
        content = read_json(path.read_bytes())
    except FileNotFoundError:
        raise MissingError(f"{path}: not found; build the dataset with `kit build`") from None
    except ValueError as error:
        raise InputError(f"{path}: not valid JSON ({error}); build the dataset again") from None
    return _parse(path, content)


def is_intact(folder: Path) -> bool:
    """Whether the manifest in `folder`, which can be read, is byte for byte the one that was written."""
    written = (folder / MANIFEST_NAME).read_bytes()
    content = read_json(written)
    content.pop(_DIGEST, None)
    return written == _rendered(content)


def _rendered(content: dict[str, Any]) -> bytes:
    return _json({**content, _DIGEST: hashlib.sha256(_json(content)).hexdigest()})


def _json(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()


def _parse(path: Path, content: Any) -> Manifest:
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{path}: not a manifest of format {FORMAT}; build the dataset with this kit's version")
    try:
        manifest = _manifest(content)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: incomplete ({error}); build the dataset again") from None
    every: list[Entry | Member] = list(manifest.entries)
    every += [member for entry in manifest.entries for member in entry.members]
    for file in every:
        _check_file(path, file.path, file)
    for listed in manifest.model_source.files if manifest.model_source is not None else ():
        _check_file(path, listed.file, listed)
    return manifest


def _check_file(manifest: Path, path: str, file: Entry | Member | ListedFile) -> None:
    """Refuse a name that leads out of the dataset, and what is no size or hash. path: where the file belongs."""
    if _leads_out(path) or PurePosixPath(file.file).name != file.file or "\0" in path + file.file:
        raise InputError(f"{manifest}: {path!r} leads out of the dataset; do not use this dataset")
    is_hash = (isinstance(file, ListedFile) and file.sha256 is None) or _SHA256.fullmatch(file.sha256 or "")
    if type(file.size_bytes) is not int or file.size_bytes < 0 or not is_hash:
        raise InputError(f"{manifest}: size or SHA-256 of {path!r} is none; build the dataset again")


def _manifest(content: Mapping[str, Any]) -> Manifest:
    wheels, source = content.get("wheels"), content.get("model_source")
    return Manifest(
        kit_version=content["kit_version"],
        commit=content["commit"],
        entries=tuple(
            Entry(**{**entry, "members": tuple(Member(**each) for each in entry.get("members", ()))})
            for entry in content["entries"]
        ),
        wheels=wheels and WheelSet(**{**wheels, "versions": tuple(wheels["versions"])}),
        model_source=source
        and ModelSource(
            ref=source["ref"],
            files=tuple(ListedFile(**each) for each in source["files"]),
            is_listed=source.get("is_listed", True),
        ),
        metadata_sha256=content.get("metadata_sha256"),
    )


def _leads_out(path: str) -> bool:
    return PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts or not PurePosixPath(path).parts
