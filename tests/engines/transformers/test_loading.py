"""A model that memory does not hold."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from transformers import AutoModelForCausalLM, Qwen2ForCausalLM

from kit.assets import TINY_MODEL, TINY_TRM
from kit.engines.opening import load_engine
from kit.engines.transformers.loading import explained_memory, load_model
from kit.errors import EngineError, InputError

CUDA = "CUDA error: out of memory\nFor debugging consider passing CUDA_LAUNCH_BLOCKING=1\n"
"""What the driver says where other processes hold all of a GPU; torch's own allocator has a class for it."""
TOLD = r"out of memory while loading.*--set engine\.dtype=bfloat16; kit train: --bf16"


@pytest.fixture(params=["while it is read", "on its way to the device"])
def _no_room(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    full = Mock(side_effect=RuntimeError(CUDA))
    if request.param == "while it is read":
        monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", full)
    else:
        monkeypatch.setattr(Qwen2ForCausalLM, "to", full)
    yield
    assert full.called


@pytest.mark.usefixtures("_no_room")
def test_a_model_that_does_not_fit_says_what_to_take_in_one_line() -> None:
    for load in (lambda: load_model(TINY_MODEL, device="cpu", dtype="float32"), lambda: load_engine(TINY_MODEL)):
        with pytest.raises(EngineError, match=TOLD) as caught:
            load()
        assert str(caught.value).endswith("CUDA error: out of memory)")


def test_a_trm_that_does_not_fit_beside_its_model_says_so_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kit.trm.checkpoint.load_alone", Mock(side_effect=RuntimeError(CUDA)))
    with pytest.raises(EngineError, match=TOLD):
        load_engine(TINY_MODEL, trm=TINY_TRM)


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), MemoryError(), RuntimeError(CUDA)]
)
def test_memory_is_seen_in_all_its_kinds(error: Exception) -> None:
    with pytest.raises(EngineError, match=TOLD) as caught, explained_memory():
        raise error
    assert str(caught.value).endswith(f"({str(error).splitlines()[0] if str(error) else type(error).__name__})")


def test_other_errors_pass(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="shapes do not fit"), explained_memory():
        raise RuntimeError("shapes do not fit")
    with pytest.raises(InputError, match="a damaged file"), explained_memory():
        raise InputError(f"{tmp_path}: a damaged file")
