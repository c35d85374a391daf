"""The notebook of `kit push-wheels`: on Kaggle, with the internet, it fetches the wheels of one lock as its output.

In: a lock, the kit's wheel and its needs. Out: an .ipynb. What it does on Kaggle is `dataset.wheel_output`: each file's
hash is checked, and only a whole set gets the manifest by which a submission notebook finds it.
"""

from __future__ import annotations

from pathlib import Path

from kit.kaggle import facts
from kit.kaggle.dataset.plan import Wheelhouse
from kit.kaggle.dataset.wheel_output import FOLDER
from kit.kaggle.embedding import code_cell, kit_code, write_notebook
from kit.kaggle.wheels.lockfile import load_lock

_TITLE = """
# Wheels of {target}

Fetches the {num_wheels} wheels of `{lock}`, {size_bytes:,} bytes, with the internet on, and checks each hash.
Its output is attached to the submission notebook, which finds it by its manifest. Written by `kit push-wheels`.
"""
_FETCH = """
from kit.kaggle.dataset.wheel_output import fetch_output

print(fetch_output(place / "{lock}", root / "{working}" / "{folder}"))
"""


def write_wheels_notebook(out: Path, lock_file: Path, *, kit_wheel: Path, needs: Wheelhouse) -> int:
    """Write the notebook for a lock; its size in bytes.

    Raises: MissingError or InputError as `load_lock`; InputError for one that Kaggle would not take; StorageError.
    """
    lock = load_lock(lock_file)
    files = {**kit_code(kit_wheel, load_lock(needs.lock), needs.folder), lock_file.name: lock_file.read_bytes()}
    title = _TITLE.format(
        target=lock.target.name, num_wheels=len(lock.wheels), lock=lock_file.name, size_bytes=lock.size_bytes
    )
    fetch = _FETCH.format(lock=lock_file.name, working=facts.WORKING, folder=FOLDER)
    return write_notebook(out, files, title=title, cells=(code_cell("fetch", fetch),))
