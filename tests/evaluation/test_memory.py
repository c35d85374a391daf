from __future__ import annotations

import pytest

from kit.errors import EngineError, is_out_of_memory
from kit.evaluation.memory import explained_loading


def test_out_of_memory_is_seen_in_what_an_error_came_from() -> None:
    error = EngineError("the model broke")
    error.__cause__ = MemoryError()
    assert is_out_of_memory(error)
    assert not is_out_of_memory(EngineError("the model broke"))


def test_a_model_that_does_not_fit_says_what_to_take_and_other_errors_pass() -> None:
    with (
        pytest.raises(EngineError, match=r"out of memory while loading.*--set engine\.dtype=bfloat16"),
        explained_loading(),
    ):
        raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
    with pytest.raises(RuntimeError, match="shapes do not fit"), explained_loading():
        raise RuntimeError("shapes do not fit")
