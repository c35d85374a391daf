"""What Kaggle does to an uploaded folder, in every way it has been seen to (docs/kaggle.md#datasets).

In: a build. Out: the folder as a notebook would find it mounted. Written from the notes, not from the kit's code.
"""

from __future__ import annotations

import itertools
import shutil
import tarfile
import zipfile
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

CLIENT_ONLY = ("dataset-metadata.json", "datapackage.json", "kernel-metadata.json")


class Unpacking(Enum):
    """Which archives Kaggle unpacks: sometimes it leaves one as it is; that it looks inside is the worst case."""

    NONE = "none"
    BY_ENDING = "by ending"
    BY_CONTENT = "by content"


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """new_layout: of the mounts since 2026. flattens: an unpacked archive's folder is left out."""

    new_layout: bool
    unpacking: Unpacking
    flattens: bool

    def __str__(self) -> str:
        layout = "new" if self.new_layout else "old"
        return f"{layout} mounts, unpacked {self.unpacking.value}{', flattened' if self.flattens else ''}"


EVERY_HABIT = tuple(
    Habits(new_layout=new_layout, unpacking=unpacking, flattens=flattens)
    for new_layout, unpacking, flattens in itertools.product((False, True), Unpacking, (False, True))
    if not (unpacking is Unpacking.NONE and flattens)
)


def mangled(build: Path, root: Path, habits: Habits) -> Path:
    """Mount a build below `root`; returns the dataset's folder."""
    mounted = root / "input" / ("datasets/someone/mathllm-kit" if habits.new_layout else "mathllm-kit")
    mounted.mkdir(parents=True)
    for file in sorted(build.iterdir()):
        if file.is_dir() or file.name in CLIENT_ONLY:
            continue  # folders are skipped, these the client keeps
        name = kept(file.name)
        if _is_unpacked(file, habits.unpacking):
            _unpack(file, mounted if habits.flattens else mounted / name.split(".")[0])
        else:
            shutil.copyfile(file, mounted / name)  # without its rights: mounts have no exec bit
    for path in mounted.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    return mounted


def kept(name: str) -> str:
    """What is left of a name."""
    return "".join(letter for letter in name if letter.isascii() and letter not in "+~=")


def _is_unpacked(file: Path, unpacking: Unpacking) -> bool:
    if file.name.endswith(".whl") or unpacking is Unpacking.NONE:
        return False
    if unpacking is Unpacking.BY_ENDING:
        return file.name.endswith((".zip", ".tar", ".tar.gz", ".gz"))
    return tarfile.is_tarfile(file) or zipfile.is_zipfile(file)


def _unpack(file: Path, into: Path) -> None:
    into.mkdir(parents=True, exist_ok=True)
    if tarfile.is_tarfile(file):  # asked first: a tar that ends in a wheel looks like a zip, too
        with tarfile.open(file) as archive:
            archive.extractall(into, filter="data")
    else:
        with zipfile.ZipFile(file) as archive:
            archive.extractall(into)
    for path in sorted(into.rglob("*"), reverse=True):
        path.rename(path.with_name(kept(path.name)))
