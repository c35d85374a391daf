"""A pool tilted to a score: the given means are met, by the least change, whatever the runs' paces."""

from __future__ import annotations

import math

import pytest

from kit.simulation.mixture import Target, mixed, reached, tilted
from kit.simulation.recording import RecordedAttempt, Recording

FEATURES = [(0.0, 0.0), (0.2, 0.9), (0.5, 1.0), (0.9, 1.0), (1.0, 1.0), (0.0, 0.5)]


def means(weights: tuple[float, ...]) -> tuple[float, float]:
    return tuple(sum(w * each[axis] for w, each in zip(weights, FEATURES, strict=True)) for axis in (0, 1))  # type: ignore[return-value]


@pytest.mark.parametrize(("score", "within"), [(0.786, 0.91), (0.4, 0.7), (0.3, 0.9)])
def test_the_weighted_means_are_the_targets(score: float, within: float) -> None:
    weights = tilted(FEATURES, Target(score=score, reached=within))
    assert sum(weights) == pytest.approx(1.0)
    assert min(weights) > 0
    assert means(weights) == pytest.approx((score, within), abs=1e-3)


def test_the_tilt_is_exponential_in_the_features() -> None:
    """What makes it the least change from equal weights: log w is linear in x and y."""
    weights = tilted(FEATURES, Target(score=0.6, reached=0.8))
    logs = [math.log(weight) for weight in weights]
    b = (logs[5] - logs[0]) / 0.5
    a = (logs[4] - logs[3]) / 0.1
    for (x, y), log in zip(FEATURES, logs, strict=True):
        assert log == pytest.approx(logs[0] + a * x + b * y, abs=1e-6)


def test_a_target_beyond_every_mixture_gives_weights_all_the_same() -> None:
    weights = tilted([(0.5, 1.0)] * 3, Target(score=0.9, reached=0.9))
    assert weights == pytest.approx((1 / 3,) * 3)


def problem(name: str, num_right: int, work_s: float) -> Recording:
    answers = [7] * num_right + [8] * (4 - num_right)
    attempts = tuple(RecordedAttempt(answer=answer, work_s=work_s, num_tokens=1) for answer in answers)
    return Recording(name=name, gold=7, attempts=attempts)


def test_runs_are_brought_to_one_pace_and_keep_their_attempts() -> None:
    runs = {"slow": (problem("a", 4, 300.0), problem("b", 0, 300.0)), "fast": (problem("a", 2, 10.0),)}
    mixture = mixed(
        runs,
        natural_s={"slow": 300.0, "fast": 20.0},
        scores={"slow": [1.0, 0.0], "fast": [0.5]},
        target=Target(score=0.5, reached=2 / 3),
    )
    assert [each.attempts[0].work_s for each in mixture.recordings] == pytest.approx([160.0, 160.0, 80.0])
    assert [each.name for each in mixture.recordings] == ["a", "b", "a"]
    assert mixture.weights == pytest.approx((1 / 3,) * 3, abs=1e-3)


def test_a_problem_is_reached_if_one_of_twenty_attempts_is_right() -> None:
    assert reached(problem("a", 0, 1.0)) == 0.0
    assert reached(problem("a", 4, 1.0)) == 1.0
    assert reached(problem("a", 1, 1.0)) == pytest.approx(1 - 0.75**20)
