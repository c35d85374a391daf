from __future__ import annotations

import pytest

from kit.data.examples import AnswerForm
from kit.data.sets import load
from kit.errors import InputError

pytest.importorskip("reasoning_gym")
SUMS = "reasoning_gym:chain_sum?min_terms=2&max_terms=2&digits=1"


def test_a_task_gives_different_questions_with_integers() -> None:
    data = load("reasoning_gym:basic_arithmetic?size=60")
    questions = [example.problem.text for example in data.examples]
    assert len(set(questions)) == 60
    assert {example.form for example in data.examples} == {AnswerForm.INTEGER}
    assert all(isinstance(int(example.gold), int) for example in data.examples)


def test_negative_answers_stay() -> None:
    assert any(int(example.gold) < 0 for example in load(f"{SUMS}&size=60").examples)


def test_the_same_name_gives_the_same_examples_and_another_seed_others() -> None:
    first, again, other = (load(f"{SUMS}&size=30&seed={seed}") for seed in (1, 1, 2))
    assert first.sha256 == again.sha256 != other.sha256


@pytest.mark.parametrize("seed", [0, 5])
def test_no_question_is_in_train_and_test(seed: int) -> None:
    train = {example.problem.text for example in load(f"{SUMS}&size=60&seed={seed}", split="train").examples}
    test = {example.problem.text for example in load(f"{SUMS}&size=60&seed=1", split="test").examples}
    assert not train & test


def test_a_dial_without_min_and_max_sets_both() -> None:
    both = load("reasoning_gym:chain_sum?terms=2&digits=3&size=20")
    apart = load("reasoning_gym:chain_sum?min_terms=2&max_terms=2&min_digits=3&max_digits=3&size=20")
    assert both.sha256 == apart.sha256


def test_a_dial_may_hold_several_values() -> None:
    spec = "reasoning_gym:simple_equations?operators=+,-&operators_weights=0.5,0.5&size=5"
    assert all("*" not in example.problem.text.split(":")[0] for example in load(spec).examples)


@pytest.mark.parametrize(
    ("rest", "told"),
    [
        ("chain_summ", "no task 'chain_summ'; did you mean 'chain_sum'"),
        ("chain_sum?min_digit=2", "no dial 'min_digit'; did you mean 'min_digits'"),
        ("chain_sum?min_digits", "'min_digits' is no dial"),
        ("chain_sum?digits=two", "digits='two'; expected a number, such as 1"),
        ("chain_sum?allow_negation=1", "expected true or false"),
        ("chain_sum?size=0", "size='0'; expected a whole number from 1"),
        ("chain_sum?terms=0", "the task refuses its dials"),
        ("chain_sum?terms=2&digits=1&size=500", r"only \d+ different questions of split 'test'.* ask for size="),
    ],
)
def test_a_name_that_makes_no_set_says_why(rest: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        load(f"reasoning_gym:{rest}")
