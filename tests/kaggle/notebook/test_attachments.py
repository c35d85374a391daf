"""The real notebook in a real kernel, for each form in which kit, model and wheels may be attached, in both layouts.

The kernel is one of the base image's packages alone (`image`). Each run takes some seconds of a fast machine. The
wheels are the test's own and hold no engine: what is shown is that they are found, checked and installed.
"""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import nbformat
import polars as pl
import pytest

from kit import assets
from kit.config import merged
from kit.errors import MissingError
from kit.kaggle.dataset.plan import Wheelhouse
from kit.kaggle.dry_run.mounting import Layout
from kit.kaggle.environment import SETTINGS_VARIABLE
from kit.kaggle.offline import without_network
from kit.kaggle.upload.kernel import NOTEBOOK
from kit.kaggle.upload.self_contained import write_self_contained
from kit.kaggle.upload.wheels_notebook import write_wheels_notebook
from kit.kaggle.wheels.committed import KIT_TARGET, current_lock
from kit.kaggle.wheels.fetch import ensure
from kit.kaggle.wheels.index import configured_index
from kit.kaggle.wheels.lockfile import Lock, lock_path
from kit.kaggle.wheels.target import Target
from kit.recipes.choices import SQUEEZED
from kit.solver.journal import read_records
from tests.kaggle.dataset.datasets import build, kit_wheel
from tests.kaggle.notebook.image import make_image, pip_settings
from tests.kaggle.wheels.simple_index import SimpleIndex, make_wheel, served

pytestmark = pytest.mark.slow

PROBLEM = ("a", "Compute the remainder when $17$ is divided by $5$.")
FEW: Mapping[str, object] = {
    "solver": {"stop": {"num_samples": 1}, "sampling": {"max_new_tokens": 8}},
    "budget": {"num_problems": 1},
    "seed": 0,
}
REF = "ada/tiny/transformers/default/1"
SOURCE = "ada/mathllm-kit-wheels-test"


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a dry run whose kernel has none of the kit's needs."""
    return make_image(tmp_path_factory.mktemp("bare"), has_others=False)


@pytest.fixture(scope="module")
def strange(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The same, with others in the place of the kit's needs."""
    return make_image(tmp_path_factory.mktemp("strange"), has_others=True)


@pytest.fixture(scope="module")
def needs(repo: Path) -> Wheelhouse:
    """The kit's own, from pip's own index if they are not in the checkout's `out` already."""
    folder = repo / "out" / "wheels" / KIT_TARGET
    try:
        ensure(current_lock(KIT_TARGET, repo), folder, lambda: replace(configured_index(), pauses_s=()))
    except MissingError as error:
        pytest.skip(f"NOT TESTED, the kit's own needs cannot be fetched: {error}")
    return Wheelhouse(lock_path(repo / "wheels", KIT_TARGET), folder)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Wheelhouse:
    """Two packages that are of no use, as the output of a notebook."""
    folder = tmp_path_factory.mktemp("wheels")
    made = (make_wheel(folder, "first"), make_wheel(folder, "second"))
    python = f"3.{sys.version_info.minor}"
    lock = Lock(Target(name="test", python=python, glibc="2.17", cuda=None, requirements=("first", "second")), made)
    lock.save(lock_path(folder, "test"))
    return Wheelhouse(lock_path(folder, "test"), folder, source=SOURCE)


class Place:
    """A stand-in for /kaggle, laid out as the layout says."""

    def __init__(self, folder: Path, layout: Layout) -> None:
        self.root, self.layout = folder / "kaggle", layout
        self.inputs = self.root / "input"
        for name in ("working", "lib/kagglegym", "input"):
            (self.root / name).mkdir(parents=True)
        (self.root / "lib" / "kit.py").write_text('raise ImportError("PYTHONPATH came before the kit")')
        self.problems = layout.competition(self.inputs) / "test.csv"
        self.problems.parent.mkdir(parents=True)
        with self.problems.open("w", newline="") as file:
            csv.writer(file).writerows((("id", "problem"), PROBLEM))

    def attach(self, folder: Path, *, dataset: str = "", model: str = "", output: str = "") -> None:
        """Copy a folder to where Kaggle mounts such a thing."""
        owner, _, slug = (dataset or output).partition("/")
        kind = "datasets" if dataset else "notebooks"
        place = f"{kind}/{owner}/{slug}" if self.layout is Layout.NEW else slug
        shutil.copytree(folder, self.layout.model(self.inputs, model) if model else self.inputs / place)

    def run(
        self, notebook: Path, environ: Mapping[str, str], *, rerun: bool, is_offline: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Execute the notebook as the dry run does."""
        settings = json.dumps(merged(SQUEEZED, FEW))
        argv = [sys.executable, "-P", "-m", "kit.kaggle.dry_run.execution", "--notebook", str(notebook)]
        argv += ["--root", str(self.root), *(["--rerun-csv", str(self.problems)] if rerun else [])]
        told = {**environ, SETTINGS_VARIABLE: settings}
        if is_offline:  # in a network of its own, too, where no other test's server listens
            command = without_network(argv, scratch=self.root.with_name("no-network"), read_only=[self.inputs])
            argv, told = list(command.argv), {**told, **command.environ}
        return subprocess.run(argv, env=told, capture_output=True, text=True, check=False)

    def check_answered(self, *, code: str) -> None:
        """It ended well, by samples of the model, with the kit from this folder of the scratch space."""
        assert pl.read_parquet(self.root / "working" / "submission.parquet")["id"].to_list() == [PROBLEM[0]]
        records = list(read_records(self.root / "working" / "journal.jsonl"))
        assert [each for each in records if each["kind"] == "sample"]
        assert f"from {self.root / 'tmp' / code}" in (self.root / "working" / "kit.log").read_text()


@pytest.fixture(
    params=[(Layout.NEW, True), pytest.param((Layout.OLD, False), marks=pytest.mark.long)],
    ids=["new-rerun", "old-unscored"],
)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Place, bool]:
    layout, rerun = request.param
    return Place(tmp_path, layout), rerun


@pytest.mark.long
def test_a_dataset_alone_stands_alone_whatever_the_image_has(
    place: tuple[Place, bool], bare: dict[str, str], strange: dict[str, str], needs: Wheelhouse, tmp_path: Path
) -> None:
    """Bug of an earlier version: without --wheels its notebook died with the first import, for the image has no trio.

    Once on an image with none of the kit's needs, once on one with other versions of them.
    """
    at, rerun = place
    built = build(tmp_path / "dataset", model=assets.TINY_MODEL, needs=needs)
    at.attach(built.folder, dataset="ada/mathllm-kit")
    done = at.run(NOTEBOOK, bare if rerun else strange, rerun=rerun)
    assert done.returncode == 0, done.stderr
    at.check_answered(code="kit-install")


@pytest.mark.long
def test_a_dataset_with_a_kaggle_model_that_lacks_a_file_and_the_output_of_push_wheels(
    place: tuple[Place, bool], bare: dict[str, str], needs: Wheelhouse, wheels: Wheelhouse, tmp_path: Path
) -> None:
    """The wheels' notebook is executed too, on an index of its own."""
    at, rerun = place
    template = assets.TINY_MODEL / "chat_template.jinja"
    built = build(
        tmp_path / "dataset",
        model=assets.TINY_MODEL,
        model_source=REF,
        model_files=(template,),
        wheels=wheels,
        needs=needs,
    )
    assert not list(built.folder.glob("*.safetensors"))
    model = shutil.copytree(assets.TINY_MODEL, tmp_path / "model")
    (model / template.name).unlink()
    at.attach(built.folder, dataset="ada/mathllm-kit")
    at.attach(model, model=REF)
    at.attach(fetched_output(tmp_path / "fetching", bare, needs=needs, wheels=wheels), output=SOURCE)
    done = at.run(NOTEBOOK, bare, rerun=rerun)
    assert done.returncode == 0, done.stderr
    at.check_answered(code="kit-install")
    made = at.root / "tmp" / "kit-environment" / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    assert {path.name for path in made.iterdir()} >= {"first", "second"}


def fetched_output(folder: Path, environ: dict[str, str], *, needs: Wheelhouse, wheels: Wheelhouse) -> Path:
    """What the notebook of `kit push-wheels` leaves, executed with an index that has just the wheels."""
    at = Place(folder, Layout.NEW)
    notebook = folder / "wheels.ipynb"
    write_wheels_notebook(notebook, wheels.lock, kit_wheel=kit_wheel(), needs=needs)
    with served(SimpleIndex(wheels.folder)) as index:
        nbformat.validate(nbformat.read(notebook, as_version=4))
        pip_settings(environ).write_text(f"[global]\nindex-url = {index.url}\n")
        done = at.run(notebook, environ, rerun=False, is_offline=False)
        pip_settings(environ).unlink()
    assert done.returncode == 0, done.stderr
    return at.root / "working"


def test_a_notebook_that_holds_the_kit_with_a_kaggle_model_and_nothing_else(
    place: tuple[Place, bool], bare: dict[str, str], needs: Wheelhouse, tmp_path: Path
) -> None:
    at, rerun = place
    notebook = tmp_path / "submission.ipynb"
    size_bytes = write_self_contained(
        notebook, notebook=NOTEBOOK, model_source=REF, model=assets.TINY_MODEL, needs=needs
    )
    assert notebook.stat().st_size == size_bytes < 1_000_000
    at.attach(assets.TINY_MODEL, model=REF)
    done = at.run(notebook, bare, rerun=rerun)
    assert done.returncode == 0, done.stderr
    at.check_answered(code="kit-notebook/code")
