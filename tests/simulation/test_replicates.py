"""The same scenarios for every policy."""

from __future__ import annotations

import dataclasses

from kit.simulation.policy import BASELINE, KIT
from kit.simulation.recording import RecordedAttempt, Recording
from kit.simulation.replicates import Replicate, run_all
from tests.simulation.toy_policies import EIGHT, MOSTLY_RIGHT, ONE, setting


def test_one_setting_has_no_average() -> None:
    assert list(run_all([ONE], [setting()], num_replicates=1)) == ["toy"]


def test_the_number_of_processes_does_not_change_the_result() -> None:
    settings = [setting("a"), setting("b", MOSTLY_RIGHT[:2])]
    ticks: list[int] = []
    alone = run_all([BASELINE, KIT], settings, num_replicates=4, seed=3, on_progress=ticks.append)
    assert ticks == [1, 2, 3, 4, 5, 6, 7, 8]
    assert run_all([BASELINE, KIT], settings, num_replicates=4, seed=3, num_processes=2) == alone


def test_the_seed_decides_the_replicates() -> None:
    def replicates(seed: int) -> list[Replicate]:
        return run_all([ONE], [setting()], num_replicates=3, seed=seed)["toy"]

    assert replicates(1) == replicates(1) != replicates(2)


def test_runs_of_the_same_problems_by_two_models_are_asked_alike() -> None:
    """Problems that are always or never solved: the score tells which of them were asked."""
    recordings = tuple(
        Recording(
            name=f"{place}",
            attempts=(RecordedAttempt(answer=place % 2, work_s=9.0, num_tokens=9),) * 8,
            gold=0,
        )
        for place in range(10)
    )
    settings = [dataclasses.replace(setting(), name=name, recordings=recordings) for name in ("one", "other")]
    runs = run_all([EIGHT], settings, num_replicates=6)
    first, second = ([replicate[0].score for replicate in runs[each.name]] for each in settings)
    assert len(set(first)) > 1
    assert first == second
