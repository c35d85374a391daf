"""A wheel of pure Python as a folder of packages, without an installer: what its zip holds, where an import finds it.

Standard library only: it is needed before anything is installed. Source: the binary distribution format
(packaging.python.org), "Installing a wheel".
"""

from __future__ import annotations

import shutil
from pathlib import Path, PurePosixPath
from zipfile import BadZipFile, ZipFile

from kit.errors import InputError
from kit.kaggle.transfer import storing

_PACKAGES = ("purelib", "platlib")  # of NAME.data; its scripts, headers and data are for no import


def unpack_wheel(wheel: Path, into: Path) -> None:
    """Put the packages of a wheel, and what it says of itself, into the folder `into`.

    Raises: InputError for what is no wheel, or one that leads out of the folder; StorageError.
    """
    try:
        with ZipFile(wheel) as archive:
            for name in archive.namelist():
                place = _place(PurePosixPath(name), wheel)
                if place is None or name.endswith("/"):
                    continue
                target = into / place
                with storing(target):
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with archive.open(name) as content, target.open("wb") as file:
                        shutil.copyfileobj(content, file)
    except BadZipFile as error:
        raise InputError(f"{wheel}: not a wheel ({error}); build the dataset again") from None


def _place(path: PurePosixPath, wheel: Path) -> PurePosixPath | None:
    """Where a file of the wheel belongs, below the folder of packages; None if it is none of a package."""
    if path.is_absolute() or ".." in path.parts:
        raise InputError(f"{wheel}: {str(path)!r} leads out of the folder; do not use this wheel")
    if not path.parts[0].endswith(".data"):
        return path
    return PurePosixPath(*path.parts[2:]) if path.parts[1] in _PACKAGES else None
