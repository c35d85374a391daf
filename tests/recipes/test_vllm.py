"""vLLM by choice: what is chosen, and what is refused."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from kit.assets import TINY_MODEL
from kit.config import replaced
from kit.cuda import UNTOLD_GPU, Gpu
from kit.engines.vllm.server.settings import CPU, PRESETS, ServerSettings
from kit.errors import InputError, MissingError
from kit.models.facts import ModelFacts
from kit.recipes import vllm
from kit.recipes.attempts import EngineConfig
from kit.recipes.opening import resolved_kind
from kit.recipes.settings import Settings
from kit.recipes.vllm import VllmChoice, check_python, prepare_server, with_cache

H100 = Gpu("NVIDIA H100 80GB HBM3", 80 << 30, (9, 0), "GPU-0")
L4X4 = tuple(Gpu("NVIDIA L4", 23 << 30, (8, 9), f"GPU-{number}") for number in range(4))
T4X2 = tuple(Gpu("Tesla T4", 15 << 30, (7, 5), f"GPU-{number}") for number in range(2))
QWEN3_32B = {"hidden_size": 5120, "num_hidden_layers": 64, "vocab_size": 151936, "intermediate_size": 25600}


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
        ("config", "settings"),
        [
            ({"model_type": "gpt_oss"}, PRESETS["gpt-oss-120b-h100"]),
            ({"model_type": "qwen3_5_moe"}, PRESETS["qwen3.5-h100"]),
            ({"model_type": "llama"}, ServerSettings()),
        ],
    )
    def test_auto_is_the_models_preset_on_a_gpu(self, tmp_path: Path, config: dict[str, Any], settings: Any) -> None:
        model = model_folder(tmp_path / "model", **config)
        assert VllmChoice().config(model, gpus=(H100,)).settings == settings

    def test_no_preset_cuts_the_context_of_a_model_of_qwen25_maths_architecture(self, tmp_path: Path) -> None:
        """A distilled R1 was served with a context of 4096, that of Qwen2.5-Math."""
        model = model_folder(tmp_path / "model", model_type="qwen2", max_position_embeddings=131072, hidden_size=5120)
        (model / "chat_template.jinja").write_text("<｜Assistant｜><think>")
        assert VllmChoice().config(model, gpus=(H100,)).settings.max_model_len == "auto"

    def test_large_weights_of_16_bits_are_made_8_and_quantised_ones_keep_their_method(self, tmp_path: Path) -> None:
        """`--quantization fp8` over a GPTQ or AWQ checkpoint is refused by vLLM."""
        model = model_folder(tmp_path / "model", model_type="qwen3", **QWEN3_32B)
        assert VllmChoice().config(model, gpus=(H100,)).settings.quantization == "fp8"
        told = model_folder(
            tmp_path / "awq", model_type="qwen3", quantization_config={"quant_method": "awq"}, **QWEN3_32B
        )
        assert VllmChoice().config(told, gpus=(H100,)).settings.quantization is None

    def test_the_cache_on_a_cpu_follows_the_model_and_the_machine(self, tmp_path: Path) -> None:
        config = {"hidden_size": 576, "num_hidden_layers": 30, "vocab_size": 49152, "num_attention_heads": 9}
        facts = ModelFacts(config={**config, "num_key_value_heads": 3, "max_position_embeddings": 8192})
        whole = 16 * 8192 * 2 * 4 * 30 * 3 * 64
        assert with_cache(CPU, facts, free_bytes=1 << 40).kv_cache_bytes == min(whole, 2 << 30)
        assert with_cache(CPU, facts, free_bytes=6 << 30).kv_cache_bytes == int(
            0.25 * ((6 << 30) - 4 * (facts.num_parameters or 0))
        )
        assert with_cache(CPU, facts, free_bytes=0).kv_cache_bytes == CPU.kv_cache_bytes
        small = ModelFacts(config={**config, "num_key_value_heads": 3, "max_position_embeddings": 32})
        assert with_cache(CPU, small, free_bytes=1 << 40).kv_cache_bytes == CPU.kv_cache_bytes
        assert VllmChoice().config(TINY_MODEL, gpus=()).settings.kv_cache_bytes == 16 * 4096 * 4096

    def test_changes_and_template_values_join_the_preset(self, tmp_path: Path) -> None:
        model = model_folder(tmp_path / "model", model_type="gpt_oss")
        (model / "o200k_base.tiktoken").touch()
        choice = VllmChoice(settings=("max_num_seqs=7", "eager=true"), template=("reasoning_effort=low", "cut=3"))
        config = choice.config(model, gpus=(H100,))
        assert (config.settings.max_num_seqs, config.settings.eager) == (7, True)
        assert config.settings.kv_cache_dtype == "fp8"
        assert ("TIKTOKEN_ENCODINGS_BASE", str(model)) in config.settings.extra_environment
        assert dict(config.template) == {"reasoning_effort": "low", "cut": 3}
        assert dict(VllmChoice().config(model, gpus=(H100,)).template) == {"reasoning_effort": "high"}

    @pytest.mark.parametrize(("settings", "told"), [((), 0), (("num_logprobs=5",), 5)])
    def test_the_server_tells_what_the_votes_read_unless_a_number_is_set(
        self, tmp_path: Path, settings: tuple[str, ...], told: int
    ) -> None:
        model = model_folder(tmp_path / "model", model_type="qwen2")
        config = VllmChoice(settings=settings).config(model, gpus=(H100,), num_logprobs=0)
        assert (config.settings.num_logprobs, config.asking.num_logprobs) == (told, told)

    @pytest.mark.parametrize(
        ("heads", "gpus", "size"),
        [
            ({"num_attention_heads": 64, "num_key_value_heads": 8}, L4X4, 4),
            ({"num_attention_heads": 14, "num_key_value_heads": 2}, L4X4, 2),
            ({"num_attention_heads": 9, "num_key_value_heads": 3}, T4X2, 1),
            ({"num_attention_heads": 64, "num_key_value_heads": 8}, (H100,), 1),
            ({}, L4X4, 1),
            ({"text_config": {"num_attention_heads": 24, "num_key_value_heads": 4}}, L4X4, 4),
        ],
    )
    def test_a_model_is_spread_over_all_gpus_that_divide_its_heads(
        self, tmp_path: Path, heads: dict[str, Any], gpus: tuple[Gpu, ...], size: int
    ) -> None:
        model = model_folder(tmp_path / "model", model_type="qwen3", **heads)
        assert VllmChoice().config(model, gpus=gpus).settings.tensor_parallel_size == size

    def test_a_model_under_a_trm_stays_on_one_gpu(self, tmp_path: Path) -> None:
        model = model_folder(tmp_path / "model", model_type="qwen3", num_attention_heads=64, num_key_value_heads=8)
        assert VllmChoice().config(model, gpus=L4X4, is_spread=False).settings.tensor_parallel_size == 1
        two = VllmChoice(settings=("tensor_parallel_size=2",))
        assert two.config(model, gpus=L4X4, is_spread=False).settings.tensor_parallel_size == 2  # the plugin refuses

    def test_a_number_of_gpus_that_is_set_wins_if_it_can_be_had(self, tmp_path: Path) -> None:
        model = model_folder(
            tmp_path / "model", model_type="llama", num_attention_heads=9, num_key_value_heads=3, hidden_size=576
        )
        choice = VllmChoice(settings=("tensor_parallel_size=3",))
        assert choice.config(model, gpus=L4X4).settings.tensor_parallel_size == 3
        with pytest.raises(InputError, match="tensor_parallel_size=3, but 2 GPUs are visible"):
            choice.config(model, gpus=T4X2)
        with pytest.raises(InputError, match=r"=2 does not divide the heads of .*config.json \(num_attention_heads 9"):
            VllmChoice(settings=("tensor_parallel_size=2",)).config(model, gpus=L4X4)

    def test_what_is_large_is_told_by_the_memory_of_the_gpus_that_are_used(self, tmp_path: Path) -> None:
        heads = {"num_attention_heads": 64, "num_key_value_heads": 8}
        model = model_folder(tmp_path / "model", model_type="qwen3", **QWEN3_32B, **heads)
        assert VllmChoice().config(model, gpus=L4X4).settings.quantization == "fp8"
        assert VllmChoice().config(model, gpus=(H100, H100)).settings.quantization is None
        assert VllmChoice().config(model, gpus=(UNTOLD_GPU,)).settings.quantization == "fp8"

    def test_gpus_without_fp8_get_none(self, tmp_path: Path) -> None:
        """A T4 refuses the cache that gpt-oss's preset asks for."""
        model = model_folder(tmp_path / "model", model_type="gpt_oss", num_attention_heads=64, num_key_value_heads=8)
        assert VllmChoice().config(model, gpus=T4X2).settings.kv_cache_dtype == "auto"
        assert VllmChoice().config(model, gpus=L4X4).settings.kv_cache_dtype == "fp8"

    def test_a_gpus_preset_needs_one(self, tmp_path: Path) -> None:
        model = model_folder(tmp_path / "model", model_type="qwen2")
        with pytest.raises(InputError, match="preset=qwen3-h100 is for a GPU, and there is none; take cpu"):
            VllmChoice(preset="qwen3-h100").config(model, gpus=())

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"settings": ["max_num_seq=7"]}, "did you mean 'engine.vllm.settings: max_num_seqs'"),
            ({"settings": ["max_num_seqs=0"]}, "max_num_seqs must be >= 1"),
            ({"settings": ["max_num_seqs"]}, "expected NAME=VALUE"),
            ({"template": ["a b=1"]}, "template must be a list of NAME=VALUE"),
            ({"preset": "h200"}, "preset must be one of auto, cpu"),
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
