"""A wheel of pure Python as a folder of packages, without an installer: what its zip holds, where an import finds it.

Standard library only: it is needed before anything is installed. Source: the binary distribution format
(packaging.python.org), "Installing a wheel".
"""

from __future__ import annotations

import os
import shutil
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from zipfile import BadZipFile, ZipFile, ZipInfo

from kit.errors import InputError
from kit.kaggle.transfer import storing

_PACKAGES = ("purelib", "platlib")  # of NAME.data; its scripts, headers and data are for no import
_BYTECODE = "__pycache__"

_Placed = tuple[ZipInfo, PurePosixPath]
"""A file of a wheel, and where it belongs below the folder of packages."""


def unpack_wheel(wheel: Path, into: Path, *, image: Sequence[Path] = ()) -> None:
    """Put the packages of a wheel, and what it says of itself, into the folder `into`.

    image: this Python's folders of packages. A package that one of them has to the last byte is linked: its bytecode is
    there, too, which takes two seconds of sympy's import to make.
    Raises: InputError for what is no wheel, or one that leads out of the folder; StorageError.
    """
    try:
        with ZipFile(wheel) as archive:
            placed = [(info, place) for info in archive.infolist() if (place := _place(info, wheel)) is not None]
            linked = _link_same(placed, into, image)
            for info, place in placed:
                if place.parts[0] not in linked:
                    _write(archive, info, into, place)
    except BadZipFile as error:
        raise InputError(f"{wheel}: not a wheel ({error}); build the dataset again") from None


def _place(info: ZipInfo, wheel: Path) -> PurePosixPath | None:
    """Where a file of the wheel belongs, below the folder of packages; None if it is none of a package."""
    path = PurePosixPath(info.filename)
    if path.is_absolute() or ".." in path.parts:
        raise InputError(f"{wheel}: {str(path)!r} leads out of the folder; do not use this wheel")
    if info.is_dir():
        return None
    if not path.parts[0].endswith(".data"):
        return path
    return PurePosixPath(*path.parts[2:]) if path.parts[1] in _PACKAGES else None


def _write(archive: ZipFile, info: ZipInfo, into: Path, place: PurePosixPath) -> None:
    target, package = into / place, into / place.parts[0]
    with storing(target):
        if package.is_symlink():  # another wheel's part of it was linked; what is linked is not ours to write to
            source = package.resolve()
            package.unlink()
            shutil.copytree(source, package, ignore=shutil.ignore_patterns(_BYTECODE))
        target.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(info) as content, target.open("wb") as file:
            shutil.copyfileobj(content, file)


def _link_same(placed: Iterable[_Placed], into: Path, image: Sequence[Path]) -> set[str]:
    """Link each folder of the wheel that the image has to the last byte; their names."""
    packages: dict[str, dict[str, ZipInfo]] = {}
    for info, place in placed:
        if len(place.parts) > 1:
            packages.setdefault(place.parts[0], {})["/".join(place.parts[1:])] = info
    linked = set()
    for name, files in packages.items():
        same = next((folder / name for folder in image if _is_same(folder / name, files)), None)
        if same is not None and not (into / name).exists():
            with storing(into / name):
                into.mkdir(parents=True, exist_ok=True)
                (into / name).symlink_to(same.resolve())
            linked.add(name)
    return linked


def _is_same(folder: Path, files: Mapping[str, ZipInfo]) -> bool:
    """Whether a folder holds these files and no others but bytecode, each with the size and the checksum of its own."""
    present: dict[str, Path] = {}
    for path, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != _BYTECODE]
        found = [Path(path, name) for name in names]
        present |= {each.relative_to(folder).as_posix(): each for each in found}
    if present.keys() != files.keys():
        return False
    return all(path.stat().st_size == files[name].file_size for name, path in present.items()) and all(
        zlib.crc32(path.read_bytes()) == files[name].CRC for name, path in present.items()
    )
