"""Our recursion inside vLLM: the folder and the depths by themselves, and its tokens beside those of kit.trm."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
import torch
import trio
from hypothesis import given
from hypothesis import strategies as st

from kit.engines.trm.engine import TRMEngine
from kit.engines.vllm.client.depth import ServedDepth
from kit.engines.vllm.plugin.config import RecursiveQwen2Config
from kit.engines.vllm.plugin.depths import RowDepths, asked_depth
from kit.engines.vllm.plugin.joined import write_joined
from kit.engines.vllm.plugin.serving import recursive_settings, with_recursion
from kit.engines.vllm.server.engine import VllmConfig, open_vllm
from kit.engines.vllm.server.settings import CPU, PRESETS, Speculation
from kit.engines.vllm.server.supervision import Launch, SupervisorConfig
from kit.errors import EngineError, InputError, MissingError
from kit.sampling import Sample, SamplingParams
from kit.trm import checkpoint
from kit.trm.config import TRMConfig
from kit.trm.model import TinyRecursiveModel
from tests.engines import tiny
from tests.engines.vllm import recursion_in_vllm
from tests.engines.vllm.real import save_endless_model

DEPTHS = (0, 1, 3, 10)
# Two tokens whose logits, of order 1, are this close in kit.trm are a tie: float32 sums in another order choose either.
TIE = 5e-5
MANY_TIES = 2  # of 200 prompts


def save_pair(folder: Path, **changes: Any) -> tuple[Path, Path]:
    """A TRM that moves its backbone's argmax, and the backbone."""
    trm_folder, backbone_folder = folder / "trm", folder / "backbone"
    save_endless_model(backbone_folder)
    config = json.loads((backbone_folder / "config.json").read_text())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        trm = TinyRecursiveModel(TRMConfig.for_backbone(RecursiveQwen2Config(**config), num_latent=2, **changes))
        torch.nn.init.normal_(trm.out.weight, std=0.5)
    checkpoint.save(trm, trm_folder, backbone_folder=backbone_folder)
    return trm_folder, backbone_folder


class TestRowDepths:
    @given(st.lists(st.tuples(st.sampled_from(["add", "remove", "move", "swap"]), *[st.integers(0, 5)] * 3)))
    def test_follows_the_rows_of_a_batch(self, steps: list[tuple[str, int, int, int]]) -> None:
        """Against a list with a place for each row."""
        rows, plain = RowDepths(), [None] * 6  # type: list[Any]
        for kind, first, second, depth in steps:
            if kind == "add":
                asked = depth or None
                rows.add(first, asked)
                plain[first] = asked
            elif kind == "remove":
                rows.remove([first])
                plain[first] = None
            elif first != second:
                rows.move(first, second, is_swap=kind == "swap")
                plain[second], plain[first] = plain[first], plain[second] if kind == "swap" else None
            assert rows.of(6, 7) == [7 if depth is None else depth for depth in plain]
            assert rows.is_empty == (plain == [None] * 6)

    @pytest.mark.parametrize(
        ("extra", "depth"), [(None, None), ({}, None), ({"trm_depth": 4}, 4), ({"trm_depth": 4.0}, 4)]
    )
    def test_reads_what_a_request_asks_for(self, extra: Any, depth: int | None) -> None:
        assert asked_depth(extra) == depth

    @pytest.mark.parametrize("depth", [-1, 10**6, 1.5, "3", True, None])
    def test_refuses_a_depth_that_makes_no_sense(self, depth: Any) -> None:
        with pytest.raises(InputError, match="depth must be"):
            asked_depth({"trm_depth": depth})


class TestJoinedFolder:
    def test_holds_links_and_an_index_of_both(self, tmp_path: Path) -> None:
        trm_folder, backbone_folder = save_pair(tmp_path, converged_below=0.1)
        joined = write_joined(trm_folder, backbone_folder, tmp_path / "joined")
        assert all(path.is_symlink() for path in joined.iterdir() if path.suffix == ".safetensors")
        weight_map = json.loads((joined / "model.safetensors.index.json").read_text())["weight_map"]
        assert weight_map["model.embed_tokens.weight"] == "model.safetensors"
        assert {weight_map[name] for name in TinyRecursiveModel(checkpoint.load_config(trm_folder)).state_dict()} == {
            "trm.safetensors"
        }
        config = RecursiveQwen2Config(**json.loads((joined / "config.json").read_text()))
        expected = checkpoint.load_config(trm_folder)
        for name in TRMConfig.__annotations__:
            assert getattr(config.recursion, name) == getattr(expected, name)
        config.trm_depth = 7
        assert config.recursion.depth == 7

    def test_is_written_anew_over_an_old_one(self, tmp_path: Path) -> None:
        folders = save_pair(tmp_path)
        write_joined(*folders, tmp_path / "joined")
        assert (write_joined(*folders, tmp_path / "joined") / "config.json").is_file()

    @pytest.mark.parametrize(
        ("spoil", "error", "message"),
        [
            (lambda _trm, backbone: _change(backbone, model_type="gemma3"), InputError, "model_type is 'gemma3'"),
            (lambda _trm, backbone: _change(backbone, hidden_size=96), InputError, "hidden_size in .* is 96"),
            (lambda trm, _backbone: _change(trm, gate_entropy=0.5), InputError, "gate_entropy .* not served"),
            (lambda trm, _backbone: _change(trm, feature_layers=[99]), InputError, "feature_layers has 99"),
            (lambda _trm, backbone: (backbone / "config.json").unlink(), MissingError, r"config\.json is missing"),
            (lambda trm, _backbone: (trm / "model.safetensors").unlink(), MissingError, r"no TRM in .*model\.safe"),
        ],
    )
    def test_what_cannot_be_joined_is_told(
        self, tmp_path: Path, spoil: Callable[[Path, Path], object], error: type[Exception], message: str
    ) -> None:
        trm_folder, backbone_folder = save_pair(tmp_path)
        spoil(trm_folder, backbone_folder)
        with pytest.raises(error, match=message):
            write_joined(trm_folder, backbone_folder, tmp_path / "joined")


def _change(folder: Path, **fields: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_settings_name_the_depth_and_keep_graphs_off_the_recursion() -> None:
    told = recursive_settings(PRESETS["qwen2.5-math-h100"], TRMConfig(), depth=5).extra_args
    assert json.loads(told[told.index("--hf-overrides") + 1]) == {"trm_depth": 5}
    assert json.loads(told[told.index("--compilation-config") + 1]) == {"cudagraph_mode": "PIECEWISE"}
    assert "--logits-processors" in told
    assert "--logits-processors" not in recursive_settings(CPU, TRMConfig(form="states"), depth=5).extra_args


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tensor_parallel_size": 2}, "tensor_parallel_size=2 cannot be had with a TRM"),
        ({"speculation": Speculation(method="ngram", num_tokens=3)}, "speculation cannot be had"),
        ({"extra_args": ("--hf-overrides={}",)}, "extra_args with --hf-overrides cannot be had"),
    ],
)
def test_settings_that_a_trm_cannot_have_are_refused_before_any_start(changes: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        recursive_settings(dataclasses.replace(CPU, **changes), TRMConfig(), depth=3)


class TestWithRecursion:
    def test_states_refuses_a_ladder_of_depths(self, tmp_path: Path) -> None:
        trm_folder, backbone_folder = save_pair(tmp_path, form="states")
        launch = Launch(python=tmp_path, model=backbone_folder, scratch=tmp_path / "scratch")
        with_recursion(launch, VllmConfig(), trm_folder=trm_folder, depths=(3,))
        with pytest.raises(InputError, match=r"one depth, 3, and calls would ask for 5, 10; set solver\.depths"):
            with_recursion(launch, VllmConfig(), trm_folder=trm_folder, depths=(3, 5, 10))

    def test_another_backbone_is_refused(self, tmp_path: Path) -> None:
        trm_folder, backbone_folder = save_pair(tmp_path)
        _change(trm_folder, backbone_sha256="0" * 64)
        launch = Launch(python=tmp_path, model=backbone_folder, scratch=tmp_path / "scratch")
        with pytest.raises(InputError, match="wrong backbone"):
            with_recursion(launch, VllmConfig(), trm_folder=trm_folder)
        with_recursion(launch, VllmConfig(), trm_folder=trm_folder, check_hash=False)


def test_a_server_with_one_depth_refuses_another() -> None:
    served = ServedDepth(default=3, argument=None)
    assert (served.of(SamplingParams()), served.of(SamplingParams(depth=3))) == (3, 3)
    with pytest.raises(EngineError, match="recurses to depth 3 only"):
        served.of(SamplingParams(depth=4))


CASES: dict[str, dict[str, Any]] = {
    "anchor": {"form": "anchor"},
    "states": {"form": "states"},
    "token that halts": {"form": "token", "trm": {"halt_above": 0.0}},
    "anchor of three layers that converges": {
        "form": "anchor",
        "trm": {"converged_below": 0.3, "feature_layers": [0, 2, -1]},
    },
    "llama": {"form": "anchor", "backbone": "llama", "trm": {"feature_layers": [0, 2, -1]}},
    "llama, states": {"form": "states", "backbone": "llama"},
    "qwen3, whitened": {
        "form": "anchor",
        "backbone": "qwen3",
        "trm": {"feature_layers": [0, 2, -1], "whitened": True},
    },
}
SHORT = ("anchor", "states")


@pytest.fixture(scope="module")
def reports(
    request: pytest.FixtureRequest, vllm_python: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """What recursion_in_vllm.py printed of each case to be tested, in one process: an import of vLLM takes seconds."""
    asking = [item for item in request.session.items if "reports" in getattr(item, "fixturenames", ())]
    names = [item.callspec.params["case"] for item in asking]  # type: ignore[attr-defined]
    scratch = tmp_path_factory.mktemp("recursion_in_vllm")
    # -I: the kit is found where vLLM's environment has it, as in a competition; the script itself imports no test
    # module
    command = [str(vllm_python), "-I", recursion_in_vllm.__file__, str(scratch)]
    command += [json.dumps(CASES[name]) for name in names]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=scratch, env=_environment())
    lines = [line for line in done.stdout.splitlines() if line.startswith(("REPORT ", "FAILED "))]
    ended = f"FAILED its process ended with {done.returncode}: {done.stderr[-3000:]}"
    return dict(zip_longest(names, lines, fillvalue=ended))


@pytest.mark.slow
@pytest.mark.parametrize(
    "case", [pytest.param(name, marks=[] if name in SHORT else [pytest.mark.long]) for name in CASES]
)
def test_greedy_tokens_are_those_of_kit_trm(reports: dict[str, str], case: str) -> None:
    """200 prompts at each depth, in chunks, with cached beginnings and preemptions; the depths share batches."""
    assert reports[case].startswith("REPORT "), reports[case]
    report = json.loads(reports[case].removeprefix("REPORT "))
    assert set(report) == {str(depth) for depth in DEPTHS}
    for depth in DEPTHS:
        told = report[str(depth)]
        assert told["num_prompts"] == 200
        assert told["num_moved"] >= (0 if depth == 0 else 150), "a recursion that changes nothing would prove nothing"
        assert [prompt for prompt in told["differing"] if prompt["gap"] > TIE] == []
        assert len(told["differing"]) <= MANY_TIES
        assert told["vllm:prefix_cache_hits"] > 0
    assert report["10"]["vllm:num_preemptions"] > 0


def _environment() -> dict[str, str]:
    return {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}


@pytest.mark.slow
def test_the_engine_samples_each_call_at_its_own_depth(vllm_python: Path, tmp_path: Path) -> None:
    """Over the server, supervised, as in the notebook; against the transformers engine on the same weights."""
    trm_folder, backbone_folder = save_pair(tmp_path)
    launch = Launch(python=vllm_python, model=backbone_folder, scratch=tmp_path / "scratch")
    config = VllmConfig(settings=CPU, supervisor=SupervisorConfig(start_timeout_s=180))
    params = [SamplingParams(temperature=0, max_new_tokens=20, depth=depth) for depth in (None, *DEPTHS)]

    async def sample_all(engine: Any) -> list[Sample]:
        samples: dict[int, Sample] = {}

        async def one(index: int) -> None:
            samples[index] = await engine.sample(tiny.chat("what is 1+1?"), params[index], timeout_s=120)

        async with trio.open_nursery() as nursery:
            for index in range(len(params)):
                nursery.start_soon(one, index)
        return [samples[index] for index in range(len(params))]

    async def over_vllm() -> list[Sample]:
        told = with_recursion(launch, config, trm_folder=trm_folder, depth=2)
        async with open_vllm(*told) as (engine, _server):
            return await sample_all(engine)

    async def over_transformers() -> list[Sample]:
        async with TRMEngine.load(trm_folder, device="cpu", depth=2) as engine:
            return await sample_all(engine)

    served, plain = trio.run(over_vllm), trio.run(over_transformers)
    assert [sample.text for sample in served] == [sample.text for sample in plain]
    assert [sample.depth for sample in served] == [2, *DEPTHS]
    assert len({sample.text for sample in served}) > 2
