"""Where an update's depth comes from."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.errors import SettingError
from kit.training.depth_schedule import Curriculum, UniformDepth


def curriculum(**changes: object) -> Curriculum:
    settings = {"first": 1, "last": 3, "measures": ("reached/{t}", "held/{t}"), "least_updates": 3, "smoothing": 0.5}
    return Curriculum(**{**settings, "afterwards": UniformDepth(least=6, most=10), **changes})  # type: ignore[arg-type]


@given(seed=st.integers(), least=st.integers(1, 5), more=st.integers(0, 5))
def test_a_uniform_depth_stays_in_its_range_and_is_the_same_for_equal_generators(
    seed: int, least: int, more: int
) -> None:
    schedule = UniformDepth(least=least, most=least + more)
    drawn = schedule.draw(random.Random(seed))
    assert least <= drawn <= least + more
    assert drawn == schedule.draw(random.Random(seed))


def test_every_depth_of_the_range_comes_up() -> None:
    schedule = UniformDepth(least=2, most=4)
    assert {schedule.draw(random.Random(seed)) for seed in range(50)} == {2, 3, 4}


@pytest.mark.parametrize(("least", "most"), [(0, 1), (3, 2), (1, 10_000)])
def test_a_range_that_makes_no_sense_is_refused(least: int, most: int) -> None:
    with pytest.raises(SettingError, match=r"least|most"):
        UniformDepth(least=least, most=most)


def test_a_stage_trains_at_its_own_depth_or_a_little_deeper() -> None:
    assert {curriculum().draw(random.Random(seed)) for seed in range(30)} == {1, 2}


def test_a_stage_ends_once_all_its_measures_are_good_enough_for_long_enough() -> None:
    schedule = curriculum()
    for _ in range(2):
        schedule.observe({"reached/1": 1.0, "held/1": 1.0})
    assert schedule.stage == 1
    schedule.observe({"reached/1": 1.0, "held/1": 1.0})
    assert schedule.stage == 2


def test_a_stage_that_does_not_hold_what_it_has_goes_on() -> None:
    schedule = curriculum()
    for _ in range(50):
        schedule.observe({"reached/1": 1.0, "held/1": 0.5})
    assert schedule.stage == 1


def test_what_was_not_measured_does_not_count() -> None:
    schedule = curriculum()
    for _ in range(5):
        schedule.observe({"reached/1": 1.0, "reached/2": 0.0})
    assert schedule.stage == 2


def test_an_update_that_measured_nothing_of_the_stage_ends_none() -> None:
    schedule = curriculum()
    for _ in range(50):
        schedule.observe({"loss": 0.0})
    assert schedule.stage == 1


def test_after_the_last_stage_the_depth_is_wide() -> None:
    schedule = curriculum(last=1)
    for _ in range(5):
        schedule.observe({"reached/1": 1.0})
    assert schedule.is_over
    assert {schedule.draw(random.Random(seed)) for seed in range(80)} == {6, 7, 8, 9, 10}


def test_a_curriculum_that_was_saved_goes_on_as_if_it_had_not_been() -> None:
    broken, whole = curriculum(), curriculum()
    rng = random.Random(0)
    for number in range(40):
        means = {f"reached/{t}": rng.random() ** 0.2 for t in (1, 2, 3)}
        whole.observe(means)
        broken.observe(means)
        if number % 7 == 0:
            restored = curriculum()
            restored.load_state_dict(broken.state_dict())
            broken = restored
    assert broken.state_dict() == whole.state_dict()
    assert whole.stage > 1


@pytest.mark.parametrize(
    "changes", [{"first": 0}, {"last": 0}, {"spread": -1}, {"threshold": 1.0}, {"smoothing": 1.0}, {"last": 10_000}]
)
def test_a_curriculum_that_makes_no_sense_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(SettingError):
        curriculum(**changes)
