"""Which folders a sandbox may read."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

import pytest

from kit.sandbox.inside import folders


def covers(paths: tuple[Path, ...], path: Path) -> bool:
    real = path.resolve()
    return any(real.is_relative_to(root.resolve()) for root in paths)


def test_python_and_its_packages_may_be_read() -> None:
    paths = folders.readable(())
    for name in ("stdlib", "purelib", "platlib"):
        assert covers(paths, Path(sysconfig.get_path(name)))
    assert covers(paths, Path(sys.executable))


@pytest.mark.parametrize(
    "path", ["/kaggle/input", "/kaggle/working", "/proc/self/environ", "/etc/shadow", "/home", "/tmp"]
)
def test_nothing_else_may_be_read(path: str) -> None:
    assert not covers(folders.readable(()), Path(path))


def test_the_kit_itself_and_its_folder_may_not_be_read(repo: Path) -> None:
    assert not covers(folders.readable(()), repo / "kit" / "solver.py")
    assert not covers(folders.readable(()), repo)


def test_a_hidden_folder_within_python_is_left_out_and_its_neighbours_stay() -> None:
    stdlib = Path(sysconfig.get_path("stdlib"))
    paths = folders.readable((stdlib / "json",))
    assert not covers(paths, stdlib / "json" / "decoder.py")
    assert covers(paths, stdlib / "ast.py")
    assert covers(paths, stdlib / "email" / "message.py")


def test_a_hidden_folder_that_holds_python_hides_it() -> None:
    assert not covers(folders.readable((Path(sys.base_prefix),)), Path(sysconfig.get_path("stdlib")))
