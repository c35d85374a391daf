"""From a mounted dataset to an engine, through the real steps."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import trio

import kit
from kit import assets
from kit.budget import process_clock
from kit.errors import InputError, MissingError
from kit.kaggle.dataset.manifest import Entry, Manifest, WheelSet, load_manifest
from kit.kaggle.environment import KaggleEnvironment, Mounts
from kit.kaggle.notebook.engine import open_restored, weight_files
from kit.kaggle.notebook.startup import install, open_attempts
from kit.kaggle.notebook.startup_graph import Outcome, Timing
from kit.kaggle.transfer import sha256_of
from kit.kaggle.wheels.fetch import save_requirements
from kit.kaggle.wheels.lockfile import Lock
from kit.kaggle.wheels.target import Target
from kit.problem import Problem
from kit.prompting import TOOLS, build_prompt
from kit.recipes.attempts import AttemptsConfig, EngineConfig, PrefetchConfig
from kit.sampling import Sample, SamplingParams
from kit.solver.config import SolverConfig
from tests.kaggle.wheels.simple_index import make_wheel

ON_CPU = EngineConfig(device="cpu", dtype="float32", num_threads=1)
WITH_TOOLS = SolverConfig(prompt=TOOLS.name)
PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"


@pytest.fixture
def kaggle(tmp_path: Path) -> KaggleEnvironment:
    """A session with the shipped model mounted as a dataset."""
    dataset = tmp_path / "input" / "datasets" / "ada" / "mathllm-kit"
    dataset.mkdir(parents=True)
    (tmp_path / "working").mkdir()
    entries = []
    for path in sorted(path for path in assets.TINY_MODEL.iterdir() if path.is_file()):
        flat = shutil.copyfile(path, dataset / f"model__{path.name}")
        entries.append(Entry(f"model/{path.name}", flat.name, flat.stat().st_size, sha256_of(flat)))
    Manifest(kit_version="1", commit="test", entries=tuple(entries)).save(dataset)
    return KaggleEnvironment(tmp_path, is_rerun=False)


@pytest.fixture
def _clean_path() -> Iterator[None]:
    path = sys.path.copy()
    yield
    sys.path[:] = path


def start(environment: KaggleEnvironment, attempts: AttemptsConfig) -> tuple[Sample, Mapping[str, Timing]]:
    """Open, draw one sample, close."""
    timings: list[Timing] = []

    async def main() -> Sample:
        mounts, clock = Mounts.find(environment.input), process_clock()
        async with open_attempts(environment, mounts, attempts, clock=clock, on_timing=timings.append) as engine:
            prompt = build_prompt(Problem("a", "Compute the remainder when $17$ is divided by $5$."))
            return await engine.sample(prompt, SamplingParams(max_new_tokens=4), timeout_s=60.0)

    return trio.run(main), {timing.step: timing for timing in timings}


@pytest.mark.slow
def test_a_mounted_dataset_becomes_an_engine_and_every_step_is_timed(kaggle: KaggleEnvironment) -> None:
    sample, timings = start(kaggle, AttemptsConfig(solver=SolverConfig(), engine=ON_CPU))
    assert sample.num_tokens == 4
    assert set(timings) == {"restore", "install", "prefetch", "engine"}
    assert timings["restore"].ended_s <= timings["install"].begun_s
    assert timings["install"].ended_s <= timings["engine"].begun_s
    assert all(timing.outcome is not Outcome.FAILED for timing in timings.values())


@pytest.mark.slow
def test_sandboxes_wait_for_nothing_and_are_started_only_if_the_prompt_runs_code(kaggle: KaggleEnvironment) -> None:
    attempts = AttemptsConfig(solver=WITH_TOOLS, engine=ON_CPU, prefetch=PrefetchConfig(num_threads=0))
    _, timings = start(kaggle, attempts)
    assert set(timings) == {"restore", "install", "engine", "sandboxes"}
    assert timings["sandboxes"].begun_s < timings["restore"].ended_s


def test_a_file_that_is_to_blame_is_named_by_the_error_itself_and_no_group(kaggle: KaggleEnvironment) -> None:
    weights = next(kaggle.input.rglob("*.safetensors"))
    weights.unlink()
    for solver in (SolverConfig(), WITH_TOOLS):
        with pytest.raises(MissingError, match=weights.name):
            start(kaggle, AttemptsConfig(solver=solver, engine=ON_CPU))


def test_without_a_dataset_the_error_says_what_to_attach(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="attach the one the kit built"):
        start(KaggleEnvironment(tmp_path, is_rerun=True), AttemptsConfig(solver=SolverConfig()))


@pytest.mark.slow
def test_a_setting_that_no_engine_takes_is_told_by_the_engine_step(kaggle: KaggleEnvironment) -> None:
    with pytest.raises(InputError, match="float7"):
        start(kaggle, AttemptsConfig(solver=WITH_TOOLS, engine=EngineConfig(device="cpu", dtype="float7")))


def test_weights_are_read_ahead_in_the_order_of_loading(tmp_path: Path) -> None:
    names = ["model/model-00002.safetensors", "model/model-00001.safetensors", "trm/a.safetensors", "model/config.json"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    def read(config: EngineConfig) -> list[str]:
        return [path.relative_to(tmp_path).as_posix() for path in weight_files(tmp_path, config)]

    assert read(EngineConfig()) == [names[1], names[0]]
    assert read(EngineConfig(kind="trm")) == [names[1], names[0], names[2]]


@pytest.mark.slow
def test_the_datasets_wheels_become_an_environment_and_without_any_the_images_packages_are_used(
    kaggle: KaggleEnvironment, tmp_path: Path
) -> None:
    dataset = Mounts.find(kaggle.input).dataset()
    restored = tmp_path / "restored"
    assert install(dataset, restored, kaggle.scratch) is None
    target = Target(name="toy", python=PYTHON, glibc="2.17", cuda=None, requirements=("app",))
    wheel = make_wheel(restored / "wheels", "app")
    lock = Lock(target, (wheel,))
    lock.save(restored / "wheels" / "pylock.toy.toml")
    save_requirements(lock, restored / "wheels")
    wheels = WheelSet(
        target="toy", python=PYTHON, glibc="2.17", cuda=None, lock="wheels/pylock.toy.toml", versions=("app==1.0",)
    )
    entries = load_manifest(dataset).entries
    Manifest(kit_version="1", commit="test", entries=entries, wheels=wheels).save(dataset)
    python = install(dataset, restored, kaggle.scratch)
    assert python is not None
    assert kaggle.scratch in python.parents
    told = "import app, kit; print(app.__file__, kit.__file__)"
    done = subprocess.run([python, "-I", "-c", told], capture_output=True, text=True, check=True)
    app, its_kit = done.stdout.split()
    assert app.startswith(str(kaggle.scratch))
    assert its_kit == kit.__file__  # the one that runs, for vLLM's processes


@pytest.mark.slow
@pytest.mark.usefixtures("_clean_path")
def test_an_environments_packages_come_before_the_images_and_after_the_kit(kaggle: KaggleEnvironment) -> None:
    environment, first = kaggle.scratch / "environment", sys.path[0]
    packages = environment / "lib" / "python3.11" / "site-packages"
    packages.mkdir(parents=True)
    attempts = AttemptsConfig(solver=SolverConfig(), engine=ON_CPU)
    for _ in range(2):
        with pytest.raises(MissingError):
            open_restored(kaggle.scratch / "nothing", environment / "bin" / "python", attempts, scratch=kaggle.scratch)
    assert sys.path[:2] == [first, str(packages)]
    assert sys.path.count(str(packages)) == 1
