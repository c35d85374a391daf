"""The notebook's first cell: the kit and what it needs itself, from the dataset and nowhere else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from kit.errors import InputError, MissingError
from kit.kaggle.dataset.bundle import Bundle
from kit.kaggle.dataset.restoring import NEEDS_FOLDER
from kit.kaggle.notebook.bootstrap import install_kit
from kit.kaggle.wheels.unpack import unpack_wheel
from tests.kaggle.dataset.datasets import build, make_model, make_needs, make_wheelhouse
from tests.kaggle.dataset.mangler import EVERY_HABIT, Habits, mangled

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """With more wheels than Kaggle takes files, so that the needs lie in an archive."""
    root = tmp_path_factory.mktemp("bootstrap")
    wheels = make_wheelhouse(root)
    return build(root / "dataset", model=make_model(root / "model"), wheels=wheels, needs=make_needs(root))


def installed(target: Path) -> set[str]:
    return {path.name for path in target.iterdir() if path.is_dir() and not path.name.endswith(".dist-info")}


@pytest.mark.parametrize("habits", EVERY_HABIT, ids=str)
def test_the_kit_and_its_own_needs_are_installed_whatever_kaggle_made_of_the_dataset(
    bundle: Bundle, habits: Habits, tmp_path: Path
) -> None:
    target = tmp_path / "tmp" / "kit-install"
    install_kit(mangled(bundle.folder, tmp_path, habits), target)
    assert installed(target) == {"kit", "first", "second"}
    assert (target / "kit" / "kaggle" / "notebook" / "submission.py").is_file()


def test_it_is_kept_for_the_same_dataset_and_made_anew_for_another(bundle: Bundle, tmp_path: Path) -> None:
    """The notebook's first cell may be run again while the session lives."""
    target = tmp_path / "tmp" / "kit-install"
    install_kit(bundle.folder, target)
    (target / "first" / "mine.py").write_text("")
    install_kit(bundle.folder, target)
    assert (target / "first" / "mine.py").exists()
    other = build(tmp_path / "other", model=make_model(tmp_path / "model"), needs=make_needs(tmp_path))
    install_kit(other.folder, target)
    assert not (target / "first" / "mine.py").exists()
    assert installed(target) == {"kit", "first", "second"}


def test_a_model_that_is_not_attached_keeps_the_kit_from_nothing(tmp_path: Path) -> None:
    """Bug of an earlier version: the kit was then run from its zip, without what it needs."""
    built = build(tmp_path / "dataset", model_source="a/b/c/d/1", needs=make_needs(tmp_path))
    install_kit(built.folder, tmp_path / "target")
    assert installed(tmp_path / "target") == {"kit", "first", "second"}


def test_a_wheel_that_is_missing_or_altered_is_named(tmp_path: Path) -> None:
    built = build(tmp_path / "dataset", model=make_model(tmp_path / "model"), needs=make_needs(tmp_path))
    first = next(built.folder.glob(f"{NEEDS_FOLDER}__first-*.whl"))
    content = bytearray(first.read_bytes())
    content[-1] ^= 1
    first.write_bytes(content)
    with pytest.raises(InputError, match=rf"{first.name}: its SHA-256"):
        install_kit(built.folder, tmp_path / "target")
    first.unlink()
    with pytest.raises(MissingError, match=first.name):
        install_kit(built.folder, tmp_path / "target")


def test_as_a_command_it_ends_with_1_and_a_line_so_that_the_notebook_takes_the_wheels(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    argv = [sys.executable, "-m", "kit.kaggle.notebook.bootstrap", tmp_path / "empty", tmp_path / "target"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=dict(os.environ))
    assert done.returncode == 1
    assert done.stderr.startswith("the kit is used from its wheels: ")
    assert "Traceback" not in done.stderr


def test_it_needs_nothing_but_the_standard_library(repo: Path) -> None:
    code = f"import sys; sys.path[:0] = [{str(repo)!r}]; import kit.kaggle.notebook.bootstrap"
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True)


def wheel_of(path: Path, **files: str) -> Path:
    with ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def test_of_a_wheel_come_its_packages_and_no_scripts_or_data(tmp_path: Path) -> None:
    names = (
        "a/__init__.py",
        "a-1.dist-info/METADATA",
        "a-1.data/purelib/b.py",
        "a-1.data/scripts/run",
        "a-1.data/data/x",
    )
    unpack_wheel(wheel_of(tmp_path / "a.whl", **dict.fromkeys(names, "")), tmp_path / "into")
    found = {str(path.relative_to(tmp_path / "into")) for path in (tmp_path / "into").rglob("*") if path.is_file()}
    assert found == {"a/__init__.py", "a-1.dist-info/METADATA", "b.py"}


@pytest.mark.parametrize("name", ["../out.py", "/out.py", "a-1.data/purelib/../../../out.py"])
def test_a_wheel_that_leads_out_of_its_folder_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="leads out of the folder"):
        unpack_wheel(wheel_of(tmp_path / "a.whl", **{name: ""}), tmp_path / "into")
    assert not (tmp_path / "out.py").exists()


def test_what_is_no_wheel_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.whl").write_bytes(b"no zip")
    with pytest.raises(InputError, match=r"a\.whl: not a wheel"):
        unpack_wheel(tmp_path / "a.whl", tmp_path / "into")


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A folder of packages with one that has bytecode."""
    package = tmp_path / "image" / "a" / "inner"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").write_text("one = 1")
    (package / "__init__.py").write_text("two = 2")
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "__init__.pyc").write_bytes(b"bytecode")
    return tmp_path / "image"


A = {"a/__init__.py": "one = 1", "a/inner/__init__.py": "two = 2", "a-1.dist-info/METADATA": "", "b.py": ""}


def test_a_package_that_the_image_has_to_the_last_byte_is_linked_with_its_bytecode(image: Path, tmp_path: Path) -> None:
    """sympy's took two seconds of each start, since torch imports it."""
    into = tmp_path / "into"
    unpack_wheel(wheel_of(tmp_path / "a.whl", **A), into, image=(tmp_path / "nothing", image))
    assert (into / "a").resolve() == image / "a"
    assert (into / "a" / "inner" / "__pycache__" / "__init__.pyc").is_file()
    assert {path.name for path in into.iterdir() if not path.is_symlink()} == {"a-1.dist-info", "b.py"}


@pytest.mark.parametrize(
    "change",
    [{"a/__init__.py": "one = 7"}, {"a/inner/__init__.py": "two = 22"}, {"a/more.py": ""}, {"a/inner/data": ""}],
)
def test_a_package_that_the_image_has_otherwise_is_unpacked(
    change: dict[str, str], image: Path, tmp_path: Path
) -> None:
    unpack_wheel(wheel_of(tmp_path / "a.whl", **{**A, **change}), tmp_path / "into", image=(image,))
    assert not (tmp_path / "into" / "a").is_symlink()
    assert all((tmp_path / "into" / name).read_text() == text for name, text in {**A, **change}.items())


def test_a_package_of_which_the_image_has_more_is_unpacked(image: Path, tmp_path: Path) -> None:
    (image / "a" / "stale.py").touch()
    unpack_wheel(wheel_of(tmp_path / "a.whl", **A), tmp_path / "into", image=(image,))
    assert not (tmp_path / "into" / "a" / "stale.py").exists()


def test_nothing_is_written_into_the_image_where_two_wheels_share_a_package(image: Path, tmp_path: Path) -> None:
    unpack_wheel(wheel_of(tmp_path / "a.whl", **A), tmp_path / "into", image=(image,))
    unpack_wheel(wheel_of(tmp_path / "b.whl", **{"a/b.py": "b"}), tmp_path / "into", image=(image,))
    assert not (image / "a" / "b.py").exists()
    found = {str(path.relative_to(tmp_path / "into")) for path in (tmp_path / "into").rglob("*.py")}
    assert found == {"a/__init__.py", "a/inner/__init__.py", "a/b.py", "b.py"}


def test_a_folder_with_linked_packages_is_made_anew_without_harm_to_them(image: Path, tmp_path: Path) -> None:
    unpack_wheel(wheel_of(tmp_path / "a.whl", **A), tmp_path / "into", image=(image,))
    shutil.rmtree(tmp_path / "into")
    assert (image / "a" / "inner" / "__init__.py").read_text() == "two = 2"
