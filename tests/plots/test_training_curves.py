import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.errors import InputError
from kit.plots.training_curves import draw_training_curves, running_mean


def updates(num_steps: int, num_updates: int = 40) -> list[dict[str, float]]:
    return [
        {"number": n, "step": n % num_steps, "loss": 5 / (1 + n), "grad_norm": 1.0, "learning_rate": 1e-3}
        for n in range(num_updates)
    ]


def lines(path: Path) -> set[str]:
    return {each.get("id", "") for each in ET.parse(path).iter() if each.get("id", "").startswith("loss-")}


@pytest.mark.parametrize(("num_steps", "shown"), [(1, {0}), (3, {0, 1, 2}), (16, {0, 3, 6, 9, 12, 15})])
def test_each_supervision_step_has_a_line_and_of_many_a_few(tmp_path: Path, num_steps: int, shown: set[int]) -> None:
    draw_training_curves(updates(num_steps), tmp_path / "a.svg", title="trm on gsm8k")
    assert lines(tmp_path / "a.svg") == {f"loss-{step}" for step in shown}


def test_the_same_updates_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg"):
        draw_training_curves(updates(2), tmp_path / name, title="x")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_a_run_of_one_update_can_be_drawn(tmp_path: Path) -> None:
    draw_training_curves(updates(1, 1), tmp_path / "a.png", title="x")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_no_updates_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no update to draw"):
        draw_training_curves([], tmp_path / "a.png", title="x")


@given(st.lists(st.floats(0, 100), min_size=1, max_size=300))
def test_the_running_mean_is_that_of_a_plain_loop(values: list[float]) -> None:
    over = max(1, min(50, len(values) // 50))
    expected = [sum(values[max(0, i + 1 - over) : i + 1]) / min(i + 1, over) for i in range(len(values))]
    assert running_mean(values) == pytest.approx(expected, abs=1e-9)
