"""Which layers are in force, wherever Python lies: none that the machine grants is lost without a word."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.sandbox.config import GiB, SandboxConfig
from kit.sandbox.confinement import Absence, Confinement, Layer
from kit.sandbox.pool import SandboxPool, open_pool

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

LONG_S = 100.0


@pytest.fixture(scope="module")
def python_below_tmp() -> Iterator[Path]:
    """A virtual environment in a folder of /tmp, as somebody's checkout may lie there."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", f"{folder}/checkout/venv"], check=True)
        (Path(folder) / "neighbour").write_text("not for the sandbox")
        Path(folder).chmod(0o755)
        yield Path(folder) / "checkout" / "venv" / "bin" / "python"


def config_of(python: Path, **changes: object) -> SandboxConfig:
    return SandboxConfig(**{"memory_bytes": GiB, "num_spare": 0, "preload": (), "python": python, **changes})


def granted(pool: SandboxPool) -> Confinement:
    """The pool's confinement; skips the test where the machine has no namespaces for us."""
    assert pool.confinement
    for absence in pool.confinement.absent:
        if absence.layer is Layer.NAMESPACES and not absence.is_granted:
            pytest.skip(f"this machine grants no namespaces: {absence.why}")
    return pool.confinement


async def output_of(pool: SandboxPool, code: str) -> str:
    async with pool.lend() as python:
        return (await python.run(code, timeout_s=LONG_S)).output


async def test_python_below_tmp_keeps_its_namespaces(python_below_tmp: Path) -> None:
    """Regression: /tmp was made after what lies below it had been shown, which failed, and nobody was told."""
    async with open_pool(config_of(python_below_tmp)) as pool:
        assert Layer.NAMESPACES in granted(pool).layers
        prefix, folder = python_below_tmp.parents[1], python_below_tmp.parents[3]
        seen = f"import os, sys\n(sys.prefix, os.listdir({str(folder)!r}), os.path.exists('/proc/self'))"
        assert await output_of(pool, seen) == f"({str(prefix)!r}, ['checkout'], False)\n"
        assert "Read-only file system" in await output_of(pool, f"open({str(prefix / 'x')!r}, 'w')")
        assert await output_of(pool, "open('/tmp/mine', 'w').write('abc')") == "3\n"
        assert await output_of(pool, "import xml.dom.minidom\nprint('imported')") == "imported\n"


async def test_python_behind_a_link_can_import_what_it_has_not_yet(python_below_tmp: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(python_below_tmp.parents[1])
    (python_below_tmp.parents[1] / "lib" / f"python3.{sys.version_info.minor}" / "site-packages" / "mine.py").touch()
    async with open_pool(config_of(link / "bin" / "python")) as pool:
        granted(pool)
        assert await output_of(pool, "import mine\nprint('imported')") == "imported\n"


async def test_a_strict_umask_costs_no_layer(python_below_tmp: Path) -> None:
    before = os.umask(0o077)
    try:
        async with open_pool(config_of(python_below_tmp)) as pool:
            assert granted(pool).lost == ()
            assert await output_of(pool, "import xml.dom.minidom\nprint('imported')") == "imported\n"
    finally:
        os.umask(before)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has user ids to give")
async def test_a_layer_that_is_granted_and_lost_is_a_warning(
    python_below_tmp: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Without mounts of its own, a Python in a folder of root's alone cannot be read as another user."""
    checkout = python_below_tmp.parents[2]
    checkout.chmod(0o700)
    try:
        async with open_pool(config_of(python_below_tmp, layers=frozenset({Layer.UID}))) as pool:
            assert pool.confinement
            (lost,) = pool.confinement.lost
    finally:
        checkout.chmod(0o755)
    assert lost.layer is Layer.UID
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == [f"sandbox: this machine grants the layer uid, and it is lost all the same: {lost.why}"]


async def test_a_layer_that_was_not_asked_for_is_no_warning(
    python_below_tmp: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_pool(config_of(python_below_tmp, layers=frozenset())) as pool:
        assert pool.confinement
        assert pool.confinement.absent == tuple(Absence(layer=layer, why="switched off") for layer in Layer)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
