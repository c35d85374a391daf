"""What holds for every test file: hypothesis's profile, marks, shards, and the fixtures that more than one needs."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from kit.errors import InputError
from kit.evaluation.plan import Shard
from tests.shards import shard_of

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
    parser.addoption("--shard", metavar="I/N", help="of the long tests only one of N shards, such as 0/8 to 7/8")


# first: what has the marks that are set here is selected by `-m` afterwards
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        for fixture, mark in (("vllm_python", "real_vllm"), ("real_model", "real_model")):
            if fixture in getattr(item, "fixturenames", ()):
                item.add_marker(mark)
    if config.option.shard:
        _leave_out_other_shards(config, items)


def _leave_out_other_shards(config: pytest.Config, items: list[pytest.Item]) -> None:
    try:
        shard = Shard.parse(config.option.shard)
    except InputError as error:
        raise pytest.UsageError(str(error)) from error
    long = [item for item in items if item.get_closest_marker("long")]
    chosen = shard_of(long, shard)
    left_out = [item for item in long if item not in chosen]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)


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
