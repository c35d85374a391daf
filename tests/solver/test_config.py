from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.errors import InputError
from kit.problem import Problem
from kit.solver.config import SamplingChoice, SolverConfig, attempt_seed
from kit.solver.stopping import StopConfig
from kit.voting.weights import VotingConfig

PROBLEM = Problem("p1", "What is $1+1$?")
SAMPLING = SamplingChoice(temperature=0.3, top_p=0.9, max_new_tokens=77, depth=4, stop=("END",))


def ladder(num_samples: int, **changes: tuple[int, ...]) -> SolverConfig:
    return SolverConfig(stop=StopConfig(num_samples=num_samples), sampling=SAMPLING, **changes)  # type: ignore[arg-type]


def test_without_ladders_attempts_differ_in_nothing_but_their_seeds() -> None:
    drawn = [ladder(16).params_of(PROBLEM, number) for number in range(40)]
    assert {dataclasses.replace(params, seed=0) for params in drawn} == {SAMPLING.params(seed=0)}
    assert len({params.seed for params in drawn}) == 40
    assert [params.seed for params in drawn] == [attempt_seed(0, PROBLEM, number) for number in range(40)]


def test_depths_and_lengths_climb_their_own_ladders() -> None:
    config = ladder(8, depths=(3, 5, 10), lengths=(100, 200))
    drawn = [config.params_of(PROBLEM, number) for number in range(8)]
    assert [params.depth for params in drawn] == [3, 3, 3, 5, 5, 5, 10, 10]
    assert [params.max_new_tokens for params in drawn] == [100] * 4 + [200] * 4
    rest = {dataclasses.replace(params, seed=0, depth=4, max_new_tokens=77) for params in drawn}
    assert rest == {SAMPLING.params(seed=0)}


def test_the_backbone_alone_is_a_rung_too() -> None:
    config = ladder(4, depths=(0, 2))
    assert [config.params_of(PROBLEM, number).depth for number in range(4)] == [0, 0, 2, 2]


@given(num_samples=st.integers(1, 64), rungs=st.lists(st.integers(1, 9999), min_size=1, max_size=8, unique=True))
def test_the_samples_are_split_evenly_over_the_rungs_in_their_order(num_samples: int, rungs: list[int]) -> None:
    config = ladder(num_samples, lengths=tuple(rungs))
    climbed = [config.params_of(PROBLEM, number).max_new_tokens for number in range(num_samples)]
    places = [rungs.index(length) for length in climbed]
    assert climbed[0] == rungs[0]
    assert all(before <= after for before, after in pairwise(places))
    counts = [Counter(climbed)[length] for length in rungs]
    assert max(counts) - min(counts) <= 1


def test_replacements_of_broken_attempts_climb_the_ladder_anew() -> None:
    config = ladder(6, lengths=(10, 20, 30))
    lengths = [config.params_of(PROBLEM, number).max_new_tokens for number in range(18)]
    assert lengths == [10, 10, 20, 20, 30, 30] * 3


def test_a_seed_is_fixed_by_run_problem_text_and_number_and_fits_the_engines() -> None:
    other = Problem("p1", "What is $1+2$?")
    keys = [(run, problem, number) for run in range(3) for problem in (PROBLEM, other) for number in range(-1, 30)]
    seeds = [attempt_seed(*key) for key in keys]
    assert len(set(seeds)) == len(keys)
    assert all(0 <= seed < 2**63 for seed in seeds)
    digest = hashlib.sha256(f"7|{PROBLEM.key}|3".encode()).hexdigest()
    assert attempt_seed(7, PROBLEM, 3) == int(digest[:16], 16) // 2  # the same in every version of Python


@pytest.mark.parametrize(
    ("name", "value"),
    [("prompt", "pythn"), ("lengths", (100, 0)), ("depths", (-1,)), ("width", 0), ("grace_s", -1.0)],
)
def test_refuses_settings_that_make_no_sense(name: str, value: object) -> None:
    with pytest.raises(InputError, match=name):
        SolverConfig(**{name: value})  # type: ignore[arg-type]


def test_counting_in_order_and_killing_by_timing_exclude_each_other() -> None:
    with pytest.raises(InputError, match="in_order"):
        SolverConfig(in_order=True, aborts_early=True)


def test_as_many_log_probabilities_are_asked_for_as_the_votes_read() -> None:
    by_count = VotingConfig(weighing="count")
    assert SolverConfig(voting=by_count).num_logprobs == 0
    assert SolverConfig(voting=by_count, aborts_early=True).num_logprobs == 20
    assert SolverConfig(voting=VotingConfig(weighing="deepconf_tail")).num_logprobs == 20
