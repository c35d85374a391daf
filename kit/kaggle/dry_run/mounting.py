"""A stand-in for what Kaggle mounts: the dataset, the competition's problems, a Kaggle Model, its own folders beside.

In: a dataset, problems and the folder that stands for /kaggle. Out: files laid out as Kaggle lays them, by either of
its layouts.
"""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

from kit.errors import cannot_write
from kit.kaggle import facts
from kit.kaggle.dataset.handle import DEFAULT_SLUG
from kit.kaggle.dataset.manifest import load_manifest
from kit.kaggle.transfer import linked
from kit.problem import Problem

_INTRUDER = 'raise ImportError("this is Kaggle\'s PYTHONPATH: the kit must come before it")\n'
"""Where PYTHONPATH leads first, under the kit's own name: whoever takes it from there is found out."""


class Layout(StrEnum):
    """Where Kaggle mounts inputs: it changed between January and March 2026 (docs/kaggle.md#mounts)."""

    OLD = "old"
    NEW = "new"

    def dataset(self, inputs: Path) -> Path:
        """A dataset's folder."""
        new = facts.DATASETS.format(owner="you", slug=DEFAULT_SLUG)
        return inputs / (new if self is Layout.NEW else DEFAULT_SLUG)

    def model(self, inputs: Path, ref: str) -> Path:
        """A Kaggle Model's folder."""
        return inputs / (facts.MODELS.format(ref=ref) if self is Layout.NEW else ref.partition("/")[2])

    def competition(self, inputs: Path) -> Path:
        """The competition's folder."""
        new = facts.COMPETITIONS.format(slug=facts.COMPETITION)
        return inputs / (new if self is Layout.NEW else facts.COMPETITION)


def mount(dataset: Path, problems: Sequence[Problem], root: Path, layout: Layout) -> Path:
    """Lay dataset and problems out as Kaggle mounts them, and Kaggle's own folders beside; returns the test.csv."""
    inputs, libraries = root / facts.INPUT, [root / folder for folder in facts.LIBRARIES]
    test_csv = layout.competition(inputs) / facts.TEST_NAME
    shutil.rmtree(inputs, ignore_errors=True)
    try:
        (root / facts.WORKING).mkdir(parents=True, exist_ok=True)
        libraries[0].mkdir(parents=True, exist_ok=True)
        (libraries[-1] / "kit.py").write_text(_INTRUDER, encoding="utf-8")
        _link(dataset, layout.dataset(inputs))
        test_csv.parent.mkdir(parents=True)
        test_csv.write_text(as_csv(problems), encoding="utf-8", newline="")
    except OSError as error:
        raise cannot_write(root, error) from error
    return test_csv


def _link(folder: Path, to: Path) -> None:
    """The files of a folder once more without their bytes, or copied where the disk has no hard links."""
    for path in sorted(folder.rglob("*")):
        place = to / path.relative_to(folder)
        if path.is_dir():
            place.mkdir(parents=True, exist_ok=True)
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        if not linked(place, path):
            shutil.copy2(path, place)


def mount_model(dataset: Path, model: Path, into: Path) -> None:
    """Lay the files of the Kaggle Model out, by links: those that the dataset was built for, and no others."""
    source = load_manifest(dataset).model_source
    assert source is not None  # lay_out built it so
    try:
        into.mkdir(parents=True)
        for file in source.files:
            (into / file.file).symlink_to((model / file.file).resolve())
    except OSError as error:
        raise cannot_write(into, error) from error


def as_csv(problems: Sequence[Problem]) -> str:
    """The competition's test.csv, which holds no answers."""
    file = io.StringIO(newline="")
    rows = csv.writer(file)
    rows.writerow(("id", "problem"))
    rows.writerows((problem.id, problem.text) for problem in problems)
    return file.getvalue()
