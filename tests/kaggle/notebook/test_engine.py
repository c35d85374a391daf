"""The engine over a mounted dataset: the real vLLM, and what takes its place."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import trio

from kit import assets
from kit.budget import process_clock
from kit.engines.vllm.server.supervision import SupervisorConfig
from kit.errors import EngineError, InputError
from kit.kaggle.dataset.manifest import Entry, Manifest
from kit.kaggle.environment import KaggleEnvironment, Mounts
from kit.kaggle.notebook import startup
from kit.kaggle.notebook.engine import weight_files
from kit.kaggle.notebook.startup import open_attempts
from kit.kaggle.transfer import sha256_of
from kit.problem import Problem
from kit.prompting import build_prompt
from kit.recipes import vllm
from kit.recipes.attempts import AttemptsConfig, EngineConfig
from kit.recipes.vllm import VllmChoice
from kit.sampling import Sample, SamplingParams
from kit.solver.config import SolverConfig
from kit.trm import checkpoint
from kit.trm.checkpoint import save_untrained
from tests.engines.lora import save_adapter


def interpreter(path: Path, *, prints: str) -> Path:
    path.write_text(f"#!/bin/sh\necho {prints}\n")
    path.chmod(0o755)
    return path


def session(folder: Path, *, with_trm: bool, adapter: Path | None = None) -> KaggleEnvironment:
    """The shipped model, and a random TRM on it that moves its argmax, or an adapter, mounted as a dataset."""
    dataset = folder / "input" / "datasets" / "ada" / "mathllm-kit"
    dataset.mkdir(parents=True)
    (folder / "working").mkdir()
    places = {"model": assets.TINY_MODEL, **({} if adapter is None else {"adapter": adapter})}
    if with_trm:
        places["trm"] = folder / "saved"
        save_untrained(places["trm"], backbone_folder=assets.TINY_MODEL)
        trm = checkpoint.load_alone(places["trm"])
        torch.manual_seed(0)
        torch.nn.init.normal_(trm.out.weight, std=0.5)
        checkpoint.save(trm, places["trm"], backbone_folder=assets.TINY_MODEL)
    entries = []
    for place, source in places.items():
        for path in sorted(path for path in source.iterdir() if path.is_file()):
            flat = dataset / f"{place}__{path.name}"
            flat.write_bytes(path.read_bytes())
            entries.append(Entry(f"{place}/{path.name}", flat.name, flat.stat().st_size, sha256_of(flat)))
    Manifest(kit_version="1", commit="test", entries=tuple(entries)).save(dataset)
    return KaggleEnvironment(folder, is_rerun=False)


def draw(python: Path, environment: KaggleEnvironment, kind: Any, **choice: Any) -> Sample:
    return sample_once(environment, EngineConfig(kind=kind, vllm=VllmChoice(python=str(python), **choice)))


def sample_once(environment: KaggleEnvironment, config: EngineConfig) -> Sample:
    attempts = AttemptsConfig(solver=SolverConfig(), engine=config)
    params = SamplingParams(temperature=0, max_new_tokens=12, depth=2 if config.recurses else None)

    async def main() -> Sample:
        mounts = Mounts.find(environment.input)
        async with open_attempts(
            environment, mounts, attempts, clock=process_clock(), on_timing=lambda _timing: None
        ) as engine:
            prompt = build_prompt(Problem("a", "Compute the remainder when $17$ is divided by $5$."))
            return await engine.sample(prompt, params, timeout_s=60.0)

    return trio.run(main)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["auto", "vllm"])
def test_transformers_takes_the_place_of_a_vllm_that_does_not_start_unless_vllm_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, kind: Any
) -> None:
    """The server is a program that ends at once."""
    environment = session(tmp_path, with_trm=False)
    (tmp_path / "made" / "bin").mkdir(parents=True)
    (tmp_path / "made" / "lib" / "python3.11" / "site-packages").mkdir(parents=True)
    python = interpreter(tmp_path / "made" / "bin" / "python", prints="True")
    monkeypatch.setattr(vllm, "driver_cuda", lambda: (13, 0))
    monkeypatch.setattr(startup, "install", lambda *_: python)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    choice = VllmChoice(supervisor=SupervisorConfig(max_failed_starts=1, pause_s=0))
    engine = EngineConfig(kind=kind, vllm=choice, device="cpu", dtype="float32", num_threads=1)
    if kind == "vllm":
        with pytest.raises(EngineError):
            sample_once(environment, engine)
        return
    assert sample_once(environment, engine).text
    assert "vLLM does not serve, transformers takes its place" in caplog.text


def test_the_notebook_finds_the_adapter_of_its_dataset_and_reads_it_ahead(tmp_path: Path) -> None:
    adapter = save_adapter(tmp_path / "adapter")
    config = EngineConfig(kind="transformers", device="cpu", dtype="float32", num_threads=1)
    environment = session(tmp_path / "with", with_trm=False, adapter=adapter)
    changed = sample_once(environment, config)
    plain = sample_once(session(tmp_path / "without", with_trm=False), config)
    assert changed.text != plain.text
    restored = environment.scratch / startup.RESTORED_FOLDER
    assert [path.parent.name for path in weight_files(restored, config)] == ["model", "adapter"]
    with pytest.raises(InputError, match="recurses over the model as it is, without the adapter"):
        sample_once(environment, EngineConfig(kind="trm", device="cpu", dtype="float32", num_threads=1))


@pytest.mark.slow
@pytest.mark.long
def test_the_real_vllm_serves_a_mounted_adapter_and_says_what_transformers_says(
    vllm_python: Path, tmp_path: Path
) -> None:
    """Its rank is above vLLM's default of 16."""
    adapter = save_adapter(tmp_path / "adapter", rank=24)
    environment = session(tmp_path / "with", with_trm=False, adapter=adapter)
    served = draw(vllm_python, environment, "vllm", settings=("max_num_seqs=4",))
    here = sample_once(environment, EngineConfig(kind="transformers", device="cpu", dtype="float32", num_threads=1))
    alone = sample_once(
        session(tmp_path / "without", with_trm=False),
        EngineConfig(kind="transformers", device="cpu", dtype="float32", num_threads=1),
    )
    assert served.text == here.text != alone.text


@pytest.mark.slow
def test_a_mounted_dataset_is_served_by_the_real_vllm_with_and_without_its_trm(
    vllm_python: Path, tmp_path: Path
) -> None:
    """The TRM says something else than its model, and the same as by transformers; settings as a competitor's."""
    environment = session(tmp_path, with_trm=True)
    alone = draw(vllm_python, environment, "vllm", settings=("max_num_seqs=4", "stream_interval=4"))
    recursive = draw(vllm_python, environment, "vllm-trm")
    plain = sample_once(environment, EngineConfig(kind="trm", device="cpu", dtype="float32", num_threads=1))
    assert (alone.depth, recursive.depth) == (None, 2)
    assert alone.text
    assert alone.text != recursive.text == plain.text
