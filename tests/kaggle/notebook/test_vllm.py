"""vLLM in the notebook: what is chosen, what is refused, and the real one over a mounted dataset."""

from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import trio

from kit import assets
from kit.budget import process_clock
from kit.config import replaced
from kit.engines.vllm.server.settings import CPU_TINY, PRESETS, ServerSettings
from kit.engines.vllm.server.supervision import SupervisorConfig
from kit.errors import EngineError, InputError, MissingError
from kit.kaggle.dataset.manifest import Entry, Manifest
from kit.kaggle.environment import KaggleEnvironment, Mounts
from kit.kaggle.notebook import startup, vllm
from kit.kaggle.notebook.engine import resolved_kind
from kit.kaggle.notebook.recipe import EngineConfig, Recipe
from kit.kaggle.notebook.settings import Settings
from kit.kaggle.notebook.startup import open_attempts
from kit.kaggle.notebook.vllm import VllmChoice, check_python, prepare_server, unpack_kit
from kit.kaggle.transfer import sha256_of
from kit.problem import Problem
from kit.prompting import build_prompt
from kit.sampling import Sample, SamplingParams
from kit.solver.config import SolverConfig
from kit.trm import checkpoint
from kit.trm.checkpoint import save_untrained


def model_folder(folder: Path, **config: Any) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def interpreter(path: Path, *, prints: str) -> Path:
    path.write_text(f"#!/bin/sh\necho {prints}\n")
    path.chmod(0o755)
    return path


class TestChoice:
    @pytest.mark.parametrize(
        ("config", "has_gpu", "settings"),
        [
            ({"model_type": "gpt_oss"}, True, PRESETS["gpt-oss-120b-h100"]),
            ({"model_type": "qwen3_moe"}, True, PRESETS["qwen3-30b-h100"]),
            ({"model_type": "qwen2", "max_position_embeddings": 4096}, True, PRESETS["qwen2.5-math-7b-h100"]),
            # a distilled R1: of the same architecture, and not to be cut down to another model's context
            ({"model_type": "qwen2", "max_position_embeddings": 131072}, True, ServerSettings()),
            ({"model_type": "llama"}, True, ServerSettings()),
            ({"model_type": "qwen2"}, False, CPU_TINY),
        ],
    )
    def test_auto_is_the_models_preset_on_a_gpu(
        self, tmp_path: Path, config: dict[str, Any], has_gpu: bool, settings: Any
    ) -> None:
        model = model_folder(tmp_path / "model", **config)
        assert VllmChoice().config(model, has_gpu=has_gpu).settings == settings

    def test_changes_and_template_values_join_the_preset(self, tmp_path: Path) -> None:
        model = model_folder(tmp_path / "model", model_type="gpt_oss")
        (model / "o200k_base.tiktoken").touch()
        choice = VllmChoice(settings=("max_num_seqs=7", "eager=true"), template=("reasoning_effort=low", "cut=3"))
        config = choice.config(model, has_gpu=True)
        assert (config.settings.max_num_seqs, config.settings.eager) == (7, True)
        assert config.settings.kv_cache_dtype == "fp8"
        assert ("TIKTOKEN_ENCODINGS_BASE", str(model)) in config.settings.extra_environment
        assert dict(config.template) == {"reasoning_effort": "low", "cut": 3}
        assert dict(VllmChoice().config(model, has_gpu=True).template) == {"reasoning_effort": "high"}

    def test_the_context_is_the_models_own_where_it_is_shorter(self, tmp_path: Path) -> None:
        model = model_folder(tmp_path / "model", model_type="gpt_oss", max_position_embeddings=4096)
        assert VllmChoice().config(model, has_gpu=True).settings.max_model_len == 4096
        longer = VllmChoice(settings=("max_model_len=8192",))
        assert longer.config(model, has_gpu=True).settings.max_model_len == 8192

    def test_a_gpus_preset_needs_one(self, tmp_path: Path) -> None:
        model = model_folder(tmp_path / "model", model_type="qwen2")
        with pytest.raises(InputError, match="preset=qwen3-30b-h100 is for a GPU, and there is none; take cpu-tiny"):
            VllmChoice(preset="qwen3-30b-h100").config(model, has_gpu=False)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"settings": ["max_num_seq=7"]}, "did you mean 'engine.vllm.settings: max_num_seqs'"),
            ({"settings": ["max_num_seqs=0"]}, "max_num_seqs must be >= 1"),
            ({"settings": ["max_num_seqs"]}, "expected NAME=VALUE"),
            ({"template": ["a b=1"]}, "template must be a list of NAME=VALUE"),
            ({"preset": "h200"}, "preset must be one of auto, cpu-tiny"),
            ({"supervisor": {"hang_s": -1}}, "hang_s must be > 0"),
        ],
    )
    def test_what_makes_no_sense_is_told_before_anything_runs(self, changes: Mapping[str, Any], message: str) -> None:
        with pytest.raises(InputError, match=message):
            replaced(Settings(), {"engine": {"vllm": changes}})


class TestPython:
    def test_one_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(MissingError, match=r"no interpreter at .*/nowhere"):
            check_python(tmp_path / "nowhere", needs_plugin=False)

    def test_one_without_vllm_is_told_with_both_mends(self, tmp_path: Path) -> None:
        with pytest.raises(MissingError, match=r"has no vLLM; .*kit wheels fetch.*engine\.vllm\.python"):
            check_python(interpreter(tmp_path / "python", prints="False"), needs_plugin=False)
        (tmp_path / "text").write_text("no program")
        with pytest.raises(MissingError, match="cannot be run as an interpreter"):
            check_python(tmp_path / "text", needs_plugin=False)

    def test_a_trm_needs_the_kit_there(self, tmp_path: Path) -> None:
        bare = interpreter(tmp_path / "bare", prints="True lora_resolver")
        check_python(bare, needs_plugin=False)
        with pytest.raises(MissingError, match="not the kit"):
            check_python(bare, needs_plugin=True)
        check_python(interpreter(tmp_path / "whole", prints="True kit_trm"), needs_plugin=True)

    def test_our_own_is_asked_where_nothing_is_said(self, tmp_path: Path) -> None:
        """This environment has no vLLM, which is what the message must say of it."""
        model = model_folder(tmp_path / "model", model_type="qwen2")
        with pytest.raises(MissingError, match=sys.executable):
            prepare_server(VllmChoice(), python=None, model=model, trm=None, depth=None, depths=(), scratch=tmp_path)


def test_the_kit_of_a_dataset_becomes_a_folder_of_packages(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no wheel of the kit"):
        unpack_kit(tmp_path, tmp_path / "code")
    with zipfile.ZipFile(tmp_path / "mathllm_kit-1-py3-none-any.whl", "w") as archive:
        archive.writestr("kit/__init__.py", "")
    assert (unpack_kit(tmp_path, tmp_path / "code") / "kit" / "__init__.py").is_file()


def session(folder: Path, *, with_trm: bool) -> KaggleEnvironment:
    """The shipped model, and a random TRM on it that moves its argmax, mounted as a dataset."""
    dataset = folder / "input" / "datasets" / "ada" / "mathllm-kit"
    dataset.mkdir(parents=True)
    (folder / "working").mkdir()
    places = {"model": assets.TINY_MODEL}
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


def sample_once(environment: KaggleEnvironment, engine: EngineConfig) -> Sample:
    recipe = Recipe(solver=SolverConfig(), engine=engine)
    params = SamplingParams(temperature=0, max_new_tokens=12, depth=2 if engine.recurses else None)

    async def main() -> Sample:
        mounts = Mounts.find(environment.input)
        async with open_attempts(
            environment, mounts, recipe, clock=process_clock(), on_timing=lambda _timing: None
        ) as attempts:
            prompt = build_prompt(Problem("a", "Compute the remainder when $17$ is divided by $5$."))
            return await attempts.sample(prompt, params, timeout_s=60.0)

    return trio.run(main)


@pytest.mark.parametrize(
    ("has_environment", "has_driver", "prints", "kind"),
    [
        (True, True, "True", "vllm"),
        (True, True, "False", "transformers"),
        (True, False, "True", "transformers"),
        (False, True, "True", "transformers"),
    ],
)
def test_auto_is_vllm_where_an_environment_brings_it_and_there_is_a_gpu(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    has_environment: bool,
    has_driver: bool,
    prints: str,
    kind: str,
) -> None:
    monkeypatch.setattr(vllm, "driver_cuda", lambda: (13, 0) if has_driver else None)
    python = interpreter(tmp_path / "python", prints=prints)
    assert resolved_kind(EngineConfig(), python if has_environment else None) == kind
    assert resolved_kind(EngineConfig(kind="trm"), python) == "trm"
    named = EngineConfig(vllm=VllmChoice(python=str(python)))
    assert resolved_kind(named, None) == ("vllm" if has_driver and prints == "True" else "transformers")


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
