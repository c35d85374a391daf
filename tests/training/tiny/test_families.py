"""The generated families: right answers by other routes, true steps, and splits that never meet."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.errors import InputError
from kit.training.tiny.families import (
    AT_ONCE,
    DIFFICULTIES,
    FAMILIES,
    TEST_SHARE,
    WORKED,
    Exercise,
    Split,
    draw,
    split_of,
)


@st.composite
def exercises(draw_from: st.DrawFn, families: tuple[str, ...] = tuple(FAMILIES)) -> Exercise:
    family = draw_from(st.sampled_from(families))
    difficulty = draw_from(st.sampled_from(DIFFICULTIES[family]))
    split = draw_from(st.sampled_from(Split))
    return draw(family, random.Random(draw_from(st.integers(0, 2**32))), difficulty=difficulty, split=split)


def numbers(exercise: Exercise) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", exercise.problem)]


# Each answer once more, by brute force and from the problem's text alone.


def brute_affine(exercise: Exercise) -> int:
    _, value, _, factor, shift, modulus, num_steps = numbers(exercise)
    for _ in range(num_steps):
        value = (factor * value + shift) % modulus
    return value


def brute_power(exercise: Exercise) -> int:
    base, exponent, addend, modulus = numbers(exercise)
    return (base**exponent + addend) % modulus


def brute_series(exercise: Exercise) -> int:
    num_terms, first, second, _ = numbers(exercise)
    return sum(first + index * (second - first) for index in range(num_terms))


def brute_gcd(exercise: Exercise) -> int:
    a, b = numbers(exercise)
    return max(d for d in range(1, b + 1) if a % d == 0 and b % d == 0)


def brute_lcm(exercise: Exercise) -> int:
    a, b = numbers(exercise)
    return next(multiple for multiple in itertools.count(1) if multiple % a == 0 and multiple % b == 0)


def brute_digits(exercise: Exercise) -> int:
    return sum(int(digit) ** 2 for digit in str(numbers(exercise)[0]))


def brute_multiples(exercise: Exercise) -> int:
    first, last, a, b = numbers(exercise)
    return sum(number % a == 0 or number % b == 0 for number in range(first, last + 1))


def brute_committee(exercise: Exercise) -> int:
    num_boys, num_girls, chosen_boys, chosen_girls = numbers(exercise)
    pairs = itertools.combinations(range(num_boys), chosen_boys)
    return sum(1 for _ in itertools.product(pairs, itertools.combinations(range(num_girls), chosen_girls)))


def brute_table(exercise: Exercise) -> int:
    image = {int(a): int(b) for a, b in re.findall(r"(\d)\\to(\d)", exercise.problem)}
    assert sorted(image) == sorted(image.values()) == list(range(1, 9))
    *_, place, num_steps = numbers(exercise)
    for _ in range(num_steps):
        place = image[place]
    return place


def brute_chain(exercise: Exercise) -> int:
    modulus, value, *_ = numbers(exercise)
    for operator, operand in re.findall(r"(\+|\\cdot)(\d)", exercise.problem):
        value = value + int(operand) if operator == "+" else value * int(operand)
    return value % modulus


BRUTE_FORCE: dict[str, Callable[[Exercise], int]] = {
    "affine": brute_affine,
    "power": brute_power,
    "series": brute_series,
    "gcd": brute_gcd,
    "lcm": brute_lcm,
    "digits": brute_digits,
    "multiples": brute_multiples,
    "committee": brute_committee,
    "table": brute_table,
    "chain": brute_chain,
}


def value_of(expression: str) -> Fraction:
    """The exact value of an expression of +, -, `\\cdot`, / and squares."""
    assert re.fullmatch(r"\d+(?:(?:\+|-|/|\\cdot|\^)\d+)*", expression), expression
    python = re.sub(r"(\d+)", r"Fraction(\1)", expression.replace("^", "**").replace(r"\cdot", "*"))
    return Fraction(eval(python, {"Fraction": Fraction}))


@pytest.mark.parametrize("family", FAMILIES)
@given(data=st.data())
def test_answers_agree_with_brute_force(family: str, data: st.DataObject) -> None:
    exercise = data.draw(exercises((family,)))
    assert exercise.answer == BRUTE_FORCE[family](exercise)
    assert 0 <= exercise.answer <= 99999
    assert exercise.family == family


@given(exercises())
def test_the_solution_ends_in_the_boxed_answer_and_has_no_other_box(exercise: Exercise) -> None:
    assert exercise.solution.splitlines()[-1] == rf"\boxed{{{exercise.answer}}}"
    assert exercise.solution.count(r"\boxed") == 1


@given(exercises(tuple(WORKED)))
def test_every_step_of_a_worked_solution_is_true_arithmetic(exercise: Exercise) -> None:
    *steps, _ = exercise.solution.splitlines()
    assert steps
    for step in steps:
        sides = [value_of(side) for side in step.split("=")]
        assert len(sides) >= 2
        assert set(sides) == {sides[0]}, step
        assert all(side >= 0 and side.denominator == 1 for side in sides)


@given(exercises(tuple(AT_ONCE)))
def test_an_at_once_solution_is_its_box_alone_and_its_problem_says_so(exercise: Exercise) -> None:
    assert exercise.solution == rf"\boxed{{{exercise.answer}}}"
    assert exercise.problem.endswith("Answer at once.")


def shortened(exercise: Exercise, num_steps: int) -> Exercise:
    """The same exercise with the first of its steps alone, by its text."""
    if exercise.family == "table":
        problem = re.sub(r"the map \$\d\$ times", f"the map ${num_steps}$ times", exercise.problem)
    else:
        head, steps, tail = re.split(r"(?<=do \$)(.*)(?=\$ in turn)", exercise.problem)
        problem = head + ";".join(steps.split(";")[:num_steps]) + tail
    return replace(exercise, problem=problem)


@given(exercises(tuple(AT_ONCE)))
def test_the_results_of_an_exercise_at_once_are_what_each_of_its_steps_gives(exercise: Exercise) -> None:
    by_hand = BRUTE_FORCE[exercise.family]
    numbers_of_steps = range(1, exercise.difficulty + 1)
    assert exercise.results == tuple(by_hand(shortened(exercise, number)) for number in numbers_of_steps)


@given(exercises(tuple(WORKED)))
def test_an_exercise_that_shows_its_steps_has_no_results_beside_them(exercise: Exercise) -> None:
    assert exercise.results == ()


@pytest.mark.parametrize("difficulty", DIFFICULTIES["table"])
def test_the_table_is_one_cycle_so_that_only_eight_steps_lead_back(difficulty: int) -> None:
    exercise = draw("table", random.Random(difficulty), difficulty=difficulty, split=Split.TRAIN)
    start = numbers(exercise)[-2]
    assert (exercise.answer == start) == (difficulty % 8 == 0)


@pytest.mark.parametrize("family", WORKED)
def test_a_higher_difficulty_means_more_or_larger_steps(family: str) -> None:
    def mean_length(difficulty: int) -> float:
        rng = random.Random(0)
        drawn = [FAMILIES[family](rng, difficulty) for _ in range(200)]
        return sum(len(exercise.solution) for exercise in drawn) / len(drawn)

    lengths = [mean_length(difficulty) for difficulty in DIFFICULTIES[family]]
    assert lengths == sorted(lengths)


def test_train_and_test_never_share_a_problem() -> None:
    texts = {
        split: {
            draw(family, rng, difficulty=difficulty, split=split).problem
            for rng in [random.Random(7)]
            for family in FAMILIES
            for difficulty in (1, 2)
            for _ in range(60)
        }
        for split in Split
    }
    assert not texts[Split.TRAIN] & texts[Split.TEST]
    for split, problems in texts.items():
        assert {split_of(problem) for problem in problems} == {split}


def test_the_test_split_has_about_its_share_of_all_texts() -> None:
    share = sum(split_of(f"problem {index}") is Split.TEST for index in range(20_000)) / 20_000
    assert share == pytest.approx(TEST_SHARE, abs=0.01)


def test_the_same_seed_draws_the_same_exercises() -> None:
    first, second = (
        [draw("gcd", rng, difficulty=2, split=Split.TEST) for _ in range(5)]
        for rng in (random.Random(3), random.Random(3))
    )
    assert first == second


@pytest.mark.parametrize(("family", "difficulty"), [("sudoku", 1), ("gcd", 0), ("gcd", 9), ("table", 9)])
def test_refuses_a_family_or_difficulty_that_is_not_there(family: str, difficulty: int) -> None:
    with pytest.raises(InputError, match=r"there are|has difficulties"):
        draw(family, random.Random(0), difficulty=difficulty, split=Split.TRAIN)
