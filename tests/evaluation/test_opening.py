"""How an evaluation's engine is asked for: what a served model is to tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kit.assets import TINY_MODEL
from kit.evaluation.head import EvalModel
from kit.evaluation.opening import FoundModel, _load_served
from kit.recipes.attempts import EngineConfig


@pytest.mark.parametrize("num_logprobs", [20, 0])
def test_a_served_model_tells_what_costs_time_only_where_it_is_kept(
    num_logprobs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bug of an earlier version: 20 log-probabilities were asked for with each token, and thrown away."""
    asked: list[Any] = []
    monkeypatch.setattr("kit.recipes.opening.open_model", lambda *_, num_logprobs, **__: asked.append(num_logprobs))
    found = FoundModel(
        model=EvalModel(name="tiny", folder=TINY_MODEL, engine="vllm"),
        config=EngineConfig(kind="vllm"),
        depths=(),
        only_raw=False,
        num_logprobs=num_logprobs,
        server=None,  # type: ignore[arg-type]  # nobody's
    )
    _load_served(found, tmp_path)
    assert asked == [num_logprobs]
