"""A notebook that holds the kit: whole, hashed, within Kaggle's limit, and with nothing left out that it imports."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from kit.checkout import build_wheel
from kit.errors import InputError
from kit.kaggle import embedding, facts
from kit.kaggle.embedding import CODE_FOLDER, code_cell, kit_code, write_notebook
from kit.kaggle.wheels.lockfile import Lock
from kit.kaggle.wheels.target import Target
from tests.kaggle.wheels.simple_index import make_wheel

FILES = {"code/here.py": b"told = 'well'\n", "a/b.bin": bytes(range(256))}


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Of the kit as it is, and two packages of which the image has one."""
    folder = tmp_path_factory.mktemp("code")
    wheels = (make_wheel(folder, "sympy"), make_wheel(folder, "trio"))
    target = Target(name="kit", python="3.11", glibc="2.17", requirements=("trio",))
    return dict(kit_code(build_wheel(folder / "kit"), Lock(target, wheels), folder))


def run(notebook: Path, root: Path) -> subprocess.CompletedProcess[str]:
    """All cells in one process of Python's own."""
    cells = nbformat.read(notebook, as_version=4).cells
    source = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    environ = {**os.environ, "KIT_KAGGLE_ROOT": str(root)}
    return subprocess.run(
        [sys.executable, "-I", "-c", source], env=environ, capture_output=True, text=True, check=False
    )


def test_its_first_cell_unpacks_what_it_holds_and_puts_the_code_on_the_path(tmp_path: Path) -> None:
    path = tmp_path / "n.ipynb"
    size_bytes = write_notebook(path, FILES, title="# It", cells=(code_cell("use", "import here\nprint(here.told)"),))
    assert path.stat().st_size == size_bytes
    nbformat.validate(nbformat.read(path, as_version=4))
    for _ in range(2):  # the cell may be run again
        done = run(path, tmp_path / "kaggle")
        assert (done.returncode, done.stdout) == (0, "well\n"), done.stderr
    place = tmp_path / "kaggle" / "tmp" / "kit-notebook"
    assert {name: (place / name).read_bytes() for name in FILES} == FILES


def test_the_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_notebook(tmp_path / name, FILES, title="", cells=())
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_one_that_was_altered_says_so_and_unpacks_nothing(tmp_path: Path) -> None:
    path = tmp_path / "n.ipynb"
    write_notebook(path, FILES, title="", cells=())
    text = path.read_text()
    at = text.index("PAYLOAD = ") + 40
    path.write_text(text[:at] + ("0" if text[at] != "0" else "1") + text[at + 1 :])
    done = run(path, tmp_path / "kaggle")
    assert "this notebook was altered" in done.stderr
    assert not (tmp_path / "kaggle").exists()


def test_one_that_kaggle_would_not_take_is_refused_with_its_largest_file(tmp_path: Path) -> None:
    large = {**FILES, "model/big.bin": os.urandom(facts.MAX_NOTEBOOK_BYTES)}
    with pytest.raises(InputError, match=r"Kaggle takes 1,000,000; the largest file in it is model/big\.bin"):
        write_notebook(tmp_path / "n.ipynb", large, title="", cells=())
    assert not (tmp_path / "n.ipynb").exists()


@pytest.mark.slow
def test_of_the_kit_nothing_is_left_out_that_what_is_held_imports(code: dict[str, bytes]) -> None:
    held = {name.removeprefix(f"{CODE_FOLDER}/").removesuffix(".py") for name in code if name.endswith(".py")}
    modules = {name.removesuffix("/__init__").replace("/", ".") for name in held if name.startswith("kit")}
    for name, content in code.items():
        if name.startswith(f"{CODE_FOLDER}/kit/") and name.endswith(".py"):
            wanted = {
                node.module
                for node in ast.walk(ast.parse(content))
                if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("kit")
            }
            assert wanted <= modules, f"{name}: {wanted - modules}"
    assert not any(name.startswith(f"{CODE_FOLDER}/{each}") for name in code for each in embedding._LEFT_OUT)


@pytest.mark.slow
def test_of_the_needs_come_those_that_the_image_lacks_without_their_tests(code: dict[str, bytes]) -> None:
    assert f"{CODE_FOLDER}/trio/__init__.py" in code
    assert not any("sympy" in name for name in code)
    assert f"{CODE_FOLDER}/kit/assets/__init__.py" in code
    assert not any("/tests/" in name or name.endswith((".safetensors", ".lock", ".toml")) for name in code)
