"""What `auto` stands for, by the checkpoint, the device and what the CPU can do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kit.engines.text.model_folder import auto_dtype

X86 = "processor\t: 0\nflags\t\t: fpu sse2 avx2 {}\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd {}\n"


def dtype(folder: Path, told: str | None, *, device: str = "cpu", cpuinfo: str = "") -> str:
    config = {} if told is None else {"dtype": told}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "cpuinfo").write_text(cpuinfo, encoding="utf-8")
    return auto_dtype(folder, device=device, cpuinfo=folder / "cpuinfo")


@pytest.mark.parametrize("cpuinfo", [X86.format("avx512_bf16"), X86.format("amx_tile amx_bf16"), ARM.format("bf16")])
def test_a_cpu_that_multiplies_in_bfloat16_takes_a_checkpoint_that_is_in_it_as_it_is(
    tmp_path: Path, cpuinfo: str
) -> None:
    assert dtype(tmp_path, "bfloat16", cpuinfo=cpuinfo) == "bfloat16"
    assert dtype(tmp_path, "float16", cpuinfo=cpuinfo) == "float32"  # bfloat16 would drop digits that float16 has
    assert dtype(tmp_path, "float32", cpuinfo=cpuinfo) == "float32"


@pytest.mark.parametrize("cpuinfo", ["", X86.format("avx512f avx_vnni"), ARM.format("asimdhp")])
@pytest.mark.parametrize("told", ["bfloat16", "float16", "float32", None])
def test_any_other_cpu_computes_in_float32(tmp_path: Path, cpuinfo: str, told: str | None) -> None:
    assert dtype(tmp_path, told, cpuinfo=cpuinfo) == "float32"


def test_float64_stays_float64_and_a_machine_without_a_list_is_any_other_cpu(tmp_path: Path) -> None:
    assert dtype(tmp_path, "float64") == "float64"
    assert auto_dtype(tmp_path, device="cpu", cpuinfo=tmp_path / "absent") == "float64"


@pytest.mark.parametrize(("told", "wanted"), [("bfloat16", "bfloat16"), ("float16", "float16"), (None, "auto")])
def test_a_gpu_takes_the_checkpoints(tmp_path: Path, told: str | None, wanted: str) -> None:
    assert dtype(tmp_path, told, device="cuda", cpuinfo=X86.format("")) == wanted
