"""Training of the shipped TRM: resumed to the same bits, exported, told what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from kit.assets import TINY_MODEL
from kit.errors import InputError, MissingError, SettingError
from kit.training.tiny.recursion import TinyRecursion, export, main, train
from kit.trm.checkpoint import load_alone, load_config, weights_sha256


def recipe(run_dir: Path, **changes: Any) -> TinyRecursion:
    small: dict[str, Any] = {"num_tables": 12, "num_kept": 1, "maps": 2, "questions": 2, "whole": 2, "kept": 2}
    return TinyRecursion(run_dir=run_dir, **{**small, "step_updates": 3, "answer_updates": 3, **changes})


def weights(run_dir: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = torch.load(run_dir / "answers.pt", weights_only=True)["average"]
    return found


def test_a_run_that_was_stopped_in_either_stage_ends_with_the_weights_of_one_that_was_not(tmp_path: Path) -> None:
    assert train(recipe(tmp_path / "whole"))
    asked = 0

    def stops() -> bool:
        """At every third question."""
        nonlocal asked
        asked += 1
        return asked % 3 == 0

    num_starts = 1
    while not train(recipe(tmp_path / "broken"), should_stop=stops):
        num_starts += 1
    assert num_starts > 2
    whole, broken = weights(tmp_path / "whole"), weights(tmp_path / "broken")
    assert whole.keys() == broken.keys()
    assert all(torch.equal(whole[name], broken[name]) for name in whole)


def test_a_run_exports_to_a_trm_of_the_shipped_model(tmp_path: Path) -> None:
    train(recipe(tmp_path / "run"))
    export(tmp_path / "run", tmp_path / "trm")
    assert load_config(tmp_path / "trm").backbone_sha256 == weights_sha256(TINY_MODEL)
    trm = load_alone(tmp_path / "trm")
    averages = [value for name, value in weights(tmp_path / "run").items() if name.startswith("module")]
    assert all(torch.equal(*pair) for pair in zip(trm.parameters(), averages, strict=True))
    entries = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert entries[0]["config"]["num_tables"] == "12"


def test_a_run_does_not_go_on_with_another_recipe(tmp_path: Path) -> None:
    train(recipe(tmp_path))
    with pytest.raises(InputError, match="of another run"):
        train(recipe(tmp_path, learning_rate=0.5))


def test_exporting_a_run_that_never_came_so_far_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(MissingError, match=r"run `train --run-dir"):
        export(tmp_path, tmp_path / "trm")
    assert main(["export", "--run-dir", str(tmp_path)]) == 2
    assert "no checkpoint" in capsys.readouterr().err


def test_refuses_a_recipe_without_exercises(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="num_tables must be >= 1, got 0"):
        recipe(tmp_path, num_tables=0)
