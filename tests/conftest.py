"""What holds for every test file: hypothesis's profile, and the fixtures that more than one needs."""

from __future__ import annotations

import os
import signal
from collections.abc import Collection
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# The one profile. No deadline and no health check speaks of how fast a machine is. In CI the examples are the same in
# each run, so that a red build speaks of the change; elsewhere they are new ones, which is how bugs are found.
settings.register_profile(
    "kit",
    deadline=None,
    derandomize="CI" in os.environ,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("kit")
# Before torch is imported, and for all child processes: two workers on two cores, and tiny matrices, for which a second
# thread costs more than it brings.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# What a shell starts in the background ignores SIGINT, and so does each process that it starts: tests of Ctrl-C would
# wait for processes that never hear of it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

REPO = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def repo() -> Path:
    return REPO


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--part", metavar="I/N", help="of the long tests only those of the Ith part of N, as CI runs them")


# first: what has the marks that are set here is selected by `-m` afterwards
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        for fixture, mark in (("vllm_python", "real_vllm"), ("real_model", "real_model")):
            if fixture in getattr(item, "fixturenames", ()):
                item.add_marker(mark)
    if config.option.part:
        number, num_parts = map(int, config.option.part.split("/"))
        left = {item for item in items if item.get_closest_marker("long")}
        left -= part_of(left, number, num_parts)
        items[:] = [item for item in items if item not in left]
        config.hook.pytest_deselected(items=sorted(left, key=lambda item: item.nodeid))


def part_of(items: Collection[pytest.Item], number: int, num_parts: int) -> set[pytest.Item]:
    """Every num_parts-th function or class of tests, by name, beginning with the number-th: a class shares a server."""
    assert 1 <= number <= num_parts, f"--part {number}/{num_parts}"
    group_of = {item: (item.parent or item).nodeid if _is_method(item) else item.nodeid.split("[")[0] for item in items}
    chosen = set(sorted(set(group_of.values()))[number - 1 :: num_parts])
    return {item for item, group in group_of.items() if group in chosen}


def _is_method(item: pytest.Item) -> bool:
    return isinstance(item.parent, pytest.Class)


@pytest.fixture(scope="session")
def vllm_python() -> Path:
    """The interpreter of vLLM's environment; whoever asks for it has the mark `real_vllm`."""
    python = Path(os.environ.get("KIT_VLLM_PYTHON", REPO / ".venv-vllm/bin/python"))
    if not python.is_file():
        pytest.skip(f"REAL vLLM IS NOT TESTED: no interpreter at {python}; `make environment-vllm` makes it")
    return python


@pytest.fixture(scope="session")
def real_model() -> Path:
    """The folder of SmolLM2-135M-Instruct; whoever asks for it has the mark `real_model`."""
    folder = Path(os.environ.get("KIT_REAL_MODEL", REPO / "out/real-model"))
    if not (folder / "model.safetensors").is_file():
        pytest.skip(f"THE REAL MODEL IS NOT TESTED: no model in {folder}; `make test-real-model` makes it")
    return folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The public data that lies beside the checkout; never part of the project."""
    folder = Path(os.environ.get("KIT_SHARED_DATA", REPO.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent: set KIT_SHARED_DATA to the folder with the public problems")
    return folder
