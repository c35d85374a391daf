"""The submission notebook with the kit and the dataset in it, for those who attach a model and wheels and nothing else.

In: what a dataset would hold, but for the weights and the wheels, which are attached. Out: one .ipynb. Its first cell
puts the kit on sys.path and the small dataset beside it; the cells after that are those of the notebook in the project.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from kit.errors import InputError
from kit.json_text import read_json
from kit.kaggle.dataset.bundle import Bundle, build
from kit.kaggle.dataset.manifest import MANIFEST_NAME, ListedFile
from kit.kaggle.dataset.plan import DatasetPlan, Wheelhouse
from kit.kaggle.embedding import DATASET_FOLDER, kit_code, write_notebook
from kit.kaggle.wheels.lockfile import load_lock

WHEELS_DO_NOT_FIT = "wheels do not fit into a notebook; `kit push-wheels`, then name its notebook: --wheels-source"
_TITLE = """
# AIMO3 submission

Holds the kit itself. Attach the competition and {attached}. Internet off, GPU on: `kit push --notebook` does all of
that. Written by `kit notebook --self-contained`.
"""


def write_self_contained(
    out: Path,
    *,
    notebook: Path,
    model_source: str,
    listing: Sequence[ListedFile] = (),
    model: Path | None = None,
    model_files: Sequence[Path] = (),
    trm: Path | None = None,
    adapter: Path | None = None,
    wheels: Wheelhouse | None = None,
    needs: Wheelhouse,
) -> int:
    """Write it; its size in bytes. notebook: whose cells come after the first. The others: as of `DatasetPlan`.

    Raises: as `build`; InputError for wheels that are not attached, and for a notebook that Kaggle would not take.
    """
    if wheels is not None and wheels.source is None:
        raise InputError(WHEELS_DO_NOT_FIT)
    with tempfile.TemporaryDirectory() as scratch:
        plan = DatasetPlan(
            model=model,
            model_source=model_source,
            listing=tuple(listing),
            model_files=tuple(model_files),
            trm=trm,
            adapter=adapter,
            wheels=wheels,
        )
        bundle = build(Path(scratch) / "dataset", plan)
        kit_wheel = next(bundle.folder.glob("mathllm_kit-*.whl"))
        files = {**kit_code(kit_wheel, load_lock(needs.lock), needs.folder), **_dataset(bundle)}
    wanted = [f"the model {model_source}", *([] if wheels is None else [f"the output of {wheels.source}"])]
    attached = " and ".join(wanted)
    return write_notebook(out, files, title=_TITLE.format(attached=attached), cells=_cells(notebook))


def _dataset(bundle: Bundle) -> Mapping[str, bytes]:
    """The dataset's files but for the kit's wheel, which is unpacked beside them; the manifest says so."""
    entries = tuple(entry for entry in bundle.manifest.entries if "/" in entry.path)
    files = {entry.file: (bundle.folder / entry.file).read_bytes() for entry in entries}
    replace(bundle.manifest, entries=entries, metadata_sha256=None).save(bundle.folder)
    files[MANIFEST_NAME] = (bundle.folder / MANIFEST_NAME).read_bytes()
    return {f"{DATASET_FOLDER}/{name}": content for name, content in files.items()}


def _cells(notebook: Path) -> Sequence[Mapping[str, object]]:
    """The cells after the one that installs the kit, whose place the unpacking takes."""
    cells: list[Mapping[str, object]] = read_json(notebook.read_bytes())["cells"]
    first = next(place for place, cell in enumerate(cells) if cell["cell_type"] == "code")
    return cells[first + 1 :]
