"""Where the files of a dataset are, whatever Kaggle made of it; and where a model that is attached by itself lies.

In: a mounted dataset and its manifest. Out: a place for every original file, or that there is none. Archives are met
both packed and unpacked, the latter in a folder of any name or right among the other files (docs/kaggle.md#datasets).
Nothing is read but names and sizes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kit.errors import InputError, MissingError
from kit.kaggle.dataset.folders import walk
from kit.kaggle.dataset.manifest import Entry, Manifest, Member, ModelSource
from kit.kaggle.facts import MODEL_REF, name_on_kaggle
from kit.kaggle.transfer import sha256_of


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


def find_model(mounts: Path, source: ModelSource) -> Path:
    """The folder of an attached Kaggle Model, under either of Kaggle's mount layouts.

    It is known by its files, if the manifest lists them, else by its path; of several fits by files, one that fits by
    path too is taken. Raises: MissingError if there is none.
    """
    folders = sorted({path.parent for path in files_below(mounts) if path.name == "config.json"})
    named = [folder for folder in folders if _is_named(folder, source.ref)]
    fitting = [folder for folder in (*named, *folders) if _holds(folder, source.files)] if source.files else named
    if fitting:
        return fitting[0]
    if named:
        lack = next(_lacks(named[0], source.files), None)
        file = named[0] / ("config.json" if lack is None else lack.file)
        raise MissingError(f"{file}: not the file the dataset was built for; attach {source.ref} itself")
    raise MissingError(f"{mounts}: no Kaggle Model {source.ref} is attached; add it to the notebook's inputs")


def _lacks(folder: Path, files: Sequence[Member]) -> Iterator[Member]:
    """The files that `folder` does not hold in the size that is recorded."""
    for file in files:
        path = folder / file.file
        if not path.is_file() or path.stat().st_size != file.size_bytes:
            yield file


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


def _is_named(folder: Path, ref: str) -> bool:
    """Whether the path holds model/framework/variation/version in a row; Kaggle writes frameworks in either case."""
    wanted = [part.casefold() for part in ref.split("/")[1:]]
    parts = [part.casefold() for part in folder.parts]
    return any(parts[begin : begin + len(wanted)] == wanted for begin in range(len(parts)))


def _holds(folder: Path, files: Sequence[Member]) -> bool:
    """Whether a folder holds the recorded files, by their sizes and by its config's content."""
    if next(_lacks(folder, files), None) is not None:
        return False
    config = next((file for file in files if file.file == "config.json"), None)
    return config is not None and sha256_of(folder / "config.json") == config.sha256
