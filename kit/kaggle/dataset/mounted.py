"""Where the files of a dataset are, whatever Kaggle made of it.

In: a mounted dataset and its manifest. Out: a place for every original file, or that there is none. Archives are met
both packed and unpacked, the latter in a folder of any name or right among the other files (docs/kaggle.md#datasets).
Nothing is read but names and sizes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from kit.errors import InputError
from kit.kaggle.dataset.folders import walk
from kit.kaggle.dataset.manifest import Entry, Manifest, Member
from kit.kaggle.facts import MODEL_REF, name_on_kaggle


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an original file is. path: where it belongs. file: what holds it; None if nothing does.

    offset_bytes: where it begins in `file`, which is an archive; None if `file` is the file itself.
    file_bytes, file_sha256: of all of `file`. expected: its name in the dataset, for an error's text.
    """

    path: str
    file: Path | None
    offset_bytes: int | None
    size_bytes: int
    sha256: str
    file_bytes: int
    file_sha256: str
    expected: str


def places(dataset: Path, manifest: Manifest) -> tuple[Place, ...]:
    """A place for every original file of the manifest, in its order."""
    index = _Index(dataset)
    return tuple(place for entry in manifest.entries for place in _of_entry(entry, index))


def files_below(root: Path) -> Iterator[Path]:
    """All files below `root`; links to folders are followed, as mounts may be, but into each folder once."""
    for folder, names in walk(root):
        yield from (folder / name for name in sorted(names))


def check_ref(ref: str) -> None:
    """Refuse what does not name a version of a Kaggle Model.

    Raises: InputError.
    """
    if not MODEL_REF.fullmatch(ref):
        expected = "owner/model/framework/variation/version, as the model's page shows it"
        raise InputError(f"model source must be {expected}, got {ref!r}")


class _Index:
    """The files of a dataset by name; subfolders are looked into only when something is missing."""

    def __init__(self, dataset: Path) -> None:
        self._dataset = dataset
        self._by_name: Mapping[str, list[Path]] | None = None

    def find(self, name: str, size_bytes: int) -> Path | None:
        """The file of this name, right in the dataset or deeper; of several, one of the right size."""
        if (self._dataset / name).is_file():
            return self._dataset / name
        if self._by_name is None:
            by_name: dict[str, list[Path]] = {}
            for path in files_below(self._dataset):
                by_name.setdefault(path.name, []).append(path)
            self._by_name = by_name
        found = self._by_name.get(name_on_kaggle(name), [])
        return next((path for path in found if path.stat().st_size == size_bytes), found[0] if found else None)


def _of_entry(entry: Entry, index: _Index) -> Iterator[Place]:
    packed = index.find(entry.file, entry.size_bytes)
    if not entry.members:
        yield place_of(entry, packed, entry, None, entry.file)
        return
    for member in entry.members:
        if packed is not None:
            yield place_of(member, packed, entry, member.offset_bytes, entry.file)
        else:
            file = index.find(member.file, member.size_bytes)
            yield place_of(member, file, member, None, f"{member.file} of {entry.file}")


def place_of(
    original: Entry | Member, file: Path | None, whole: Entry | Member, offset_bytes: int | None, expected: str
) -> Place:
    """The place of an original file. whole: what `file` is to be, the original itself or an archive."""
    return Place(
        path=original.path,
        file=file,
        offset_bytes=offset_bytes,
        size_bytes=original.size_bytes,
        sha256=original.sha256,
        file_bytes=whole.size_bytes,
        file_sha256=whole.sha256,
        expected=expected,
    )
