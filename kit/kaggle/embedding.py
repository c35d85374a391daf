"""A notebook that holds files itself, compressed and hashed: its first cell unpacks them, and nothing need be attached.

In: files by their paths, and the cells that come after. Out: one .ipynb within Kaggle's limit. The same files give the
same bytes. `kit_code` is what such a notebook holds of the kit: what a submission runs, and of the kit's own needs what
Kaggle's image lacks.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import lzma
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from zipfile import ZipFile

from kit.errors import InputError
from kit.kaggle import facts
from kit.kaggle.wheels.lockfile import Lock
from kit.whole_file import written_whole

CODE_FOLDER = "code"
"""Of the unpacked files: packages, for the front of sys.path."""
DATASET_FOLDER = "dataset"
"""Of the unpacked files: a dataset of the kit without wheels and weights, where there is one."""
_LEFT_OUT = (
    *("kit/commands/", "kit/simulation/", "kit/evaluation/", "kit/training/", "kit/plots/", "kit/data/", "kit/cli.py"),
    *("kit/kaggle/dry_run/", "kit/kaggle/upload/", "kit/kaggle/checks/"),
    *("kit/engines/trm/sharing.py", "kit/engines/trm/model_card.py"),  # to and from the hub
)
_DATA = "kit/assets/"  # but for the module that says where it lies
_FILTERS = ({"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME},)
_UNPACK = """\
import base64
import hashlib
import io
import os
import sys
import tarfile
from pathlib import Path

PAYLOAD = {payload!r}
root = Path(os.environ.get("KIT_KAGGLE_ROOT", "{root}"))  # a dry run sets another root
packed, place = base64.b85decode(PAYLOAD), root / "{scratch}" / "kit-notebook"
if hashlib.sha256(packed).hexdigest() != "{sha256}":
    raise ValueError("this notebook was altered: it does not hold what was written into it; write it again")
with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
    archive.extractall(place, filter="data")
sys.path.insert(0, str(place / "{code}"))
dataset = place / "{dataset}"  # a small one, of the kit; for a submission
"""


def kit_code(kit_wheel: Path, needs: Lock, folder: Path) -> Mapping[str, bytes]:
    """The files of the kit and of its needs that a notebook holds, by their paths below CODE_FOLDER.

    needs: the lock of those needs, whose wheels lie in `folder`.
    """
    wheels = [folder / wheel.file for wheel in needs.wheels if wheel.name not in facts.IMAGE_HAS]
    every = [each for wheel in (kit_wheel, *wheels) for each in _files(wheel)]
    return {f"{CODE_FOLDER}/{name}": content for name, content in every}


def write_notebook(out: Path, files: Mapping[str, bytes], *, title: str, cells: Sequence[Mapping[str, object]]) -> int:
    """Write a notebook whose first cell of code unpacks `files`, with `cells` after it; its size in bytes.

    title: Markdown, above all.
    Raises: InputError for one that Kaggle would not take; StorageError.
    """
    packed = _packed(files)
    unpack = _UNPACK.format(
        payload=base64.b85encode(packed).decode(),
        sha256=hashlib.sha256(packed).hexdigest(),
        root=facts.ROOT,
        scratch=facts.SCRATCH,
        code=CODE_FOLDER,
        dataset=DATASET_FOLDER,
    )
    begin = (_cell("markdown", "title", title), code_cell("unpack", unpack))
    notebook = {"cells": [*begin, *cells], "metadata": _METADATA, "nbformat": 4, "nbformat_minor": 5}
    content = (json.dumps(notebook, indent=1, ensure_ascii=False) + "\n").encode()
    if len(content) > facts.MAX_NOTEBOOK_BYTES:
        largest = max(files, key=lambda name: len(files[name]))
        raise InputError(
            f"{out}: the notebook would have {len(content):,} bytes, Kaggle takes {facts.MAX_NOTEBOOK_BYTES:,}; the "
            f"largest file in it is {largest} ({len(files[largest]):,} bytes before it is compressed): build a dataset "
            "with `kit build` for what is large"
        )
    with written_whole(out) as path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return len(content)


def code_cell(name: str, source: str) -> Mapping[str, object]:
    """A cell of code without outputs."""
    return {**_cell("code", name, source), "execution_count": None, "outputs": []}


def _cell(kind: str, name: str, source: str) -> Mapping[str, object]:
    return {"cell_type": kind, "id": name, "metadata": {}, "source": source.strip().splitlines(keepends=True)}


_METADATA: Mapping[str, object] = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def _files(wheel: Path) -> Iterator[tuple[str, bytes]]:
    """What a wheel holds that a notebook needs: its packages without their tests, and what it says of itself."""
    with ZipFile(wheel) as archive:
        for name in sorted(archive.namelist()):
            parts = PurePosixPath(name).parts
            is_test = bool({"tests", "_tests"} & set(parts[1:-1]))
            is_data = parts[0].endswith(".data") or (name.startswith(_DATA) and name != f"{_DATA}__init__.py")
            if not (is_test or is_data or name.startswith(_LEFT_OUT)):
                yield name, archive.read(name)


def _packed(files: Mapping[str, bytes]) -> bytes:
    """A compressed tar of the files, with nothing in it that tells when or by whom it was made."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name in sorted(files):
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(files[name]), 0o644
            archive.addfile(info, io.BytesIO(files[name]))
    return lzma.compress(packed.getvalue(), filters=_FILTERS)
