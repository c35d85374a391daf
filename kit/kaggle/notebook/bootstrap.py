"""The kit and what it needs itself, from the dataset to a folder for the front of sys.path.

Run by the notebook's first cell as `python -m kit.kaggle.notebook.bootstrap DATASET TARGET`, from inside the kit's
wheel, in a process of its own, so that the notebook imports nothing but what is installed. In: the mounted dataset.
Out: the folder, with the kit and the pure Python that it needs, of the locked versions, whatever the image has of
them: nothing, others, or the very same, which are linked. No installer and no package is asked. What the model needs is
installed later, while the server listens already (`notebook.startup`).
"""

from __future__ import annotations

import argparse
import shutil
import site
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from kit.errors import KitError
from kit.kaggle.dataset.manifest import MANIFEST_NAME, Entry, load_manifest
from kit.kaggle.dataset.restoring import MAX_HASHED_BYTES, NEEDS_FOLDER, restore_files
from kit.kaggle.transfer import sha256_of, storing
from kit.kaggle.wheels.unpack import unpack_wheel

_MARK = "kit-installed.txt"  # in a finished folder: of which dataset


def install_kit(dataset: Path, target: Path, *, image: Sequence[Path] = ()) -> None:
    """Put the kit and its own needs into `target`; what is there already of this very dataset is kept.

    Every wheel is hashed. They lie restored beside `target`. image: as `unpack_wheel` takes it.
    Raises: MissingError, InputError or StorageError naming the file that is to blame.
    """
    manifest, mark = load_manifest(dataset), target / _MARK
    digest = sha256_of(dataset / MANIFEST_NAME)
    if mark.is_file() and mark.read_text(encoding="utf-8") == digest:
        return
    own = replace(manifest, entries=tuple(_own(manifest.entries)))
    wheels = target.with_name("kit-wheels")
    restore_files(dataset, own, wheels, max_hashed_bytes=MAX_HASHED_BYTES)
    with storing(target):
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
    for path in own.paths():
        if path.endswith(".whl"):
            unpack_wheel(wheels / path, target, image=image)
    with storing(mark):
        mark.write_text(digest, encoding="utf-8")


def _own(entries: Sequence[Entry]) -> Iterator[Entry]:
    """The entries of the kit's wheel and of its needs; of an archive, with the members that are such."""
    for entry in entries:
        members = tuple(member for member in entry.members if _is_own(member.path))
        if members or (not entry.members and _is_own(entry.path)):
            yield replace(entry, members=members)


def _is_own(path: str) -> bool:
    """Whether this is where the kit's wheel belongs, which is in no folder, or one of its needs."""
    return "/" not in path or path.startswith(f"{NEEDS_FOLDER}/")


def main() -> int:
    """Parse, install, and turn a failure into an exit status: the kit runs from its wheels as well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("target", type=Path)
    args = parser.parse_args()
    try:
        install_kit(args.dataset, args.target, image=tuple(map(Path, site.getsitepackages())))
    except KitError as error:
        sys.stderr.write(f"the kit is used from its wheels: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
