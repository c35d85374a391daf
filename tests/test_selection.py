"""GenSelect against scripted judges, and its liveness test against every pick that chance could make."""

from __future__ import annotations

import itertools
import logging
import re
from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from kit.engines.scripted import Fault, Outcome, Script, ScriptedEngine
from kit.errors import InputError
from kit.extraction import last_boxed
from kit.problem import Problem
from kit.sampling import Engine, Prompt, Sample, SamplingParams
from kit.selection import (
    MAX_FALSE_ALARM,
    Candidate,
    Liveness,
    Pick,
    Selection,
    SelectionConfig,
    comparison_prompt,
    false_alarm_rate,
    least_picks,
    liveness_of,
    picked,
    rotated_orders,
    select,
    summary_of,
)

PROBLEM = Problem("p1", "What is $40+2$?")
RIGHT, WRONG = 42, 41
CANDIDATES = (
    Candidate(answer=WRONG, num_votes=5, summary="Guessing, \\boxed{41}."),
    Candidate(answer=RIGHT, num_votes=3, summary="Adding, \\boxed{42}."),
)
CONFIG = SelectionConfig(num_rounds=8)


def shown(prompt: Prompt) -> list[int]:
    """The answers of the solutions of a prompt, in their order."""
    solutions = prompt.messages[-1].content.split("### Solution ")[1:]
    answers = [last_boxed(each.partition("\nCompare the solutions")[0]) for each in solutions]
    return [int(each) for each in answers if each is not None]


def judge(pick: Callable[[list[int], SamplingParams], int], seconds: float = 10.0) -> ScriptedEngine:
    """An engine that answers each comparison with the place that `pick` chooses among the answers shown."""

    def write(prompt: Prompt, params: SamplingParams) -> Script:
        return Script(text=f"Comparing. \\boxed{{Solution {pick(shown(prompt), params) + 1}}}", seconds=seconds)

    return ScriptedEngine(write)


def for_answer(answer: int) -> ScriptedEngine:
    return judge(lambda answers, params: answers.index(answer))


def saying(text: str, **changes: Any) -> ScriptedEngine:
    return ScriptedEngine(lambda prompt, params: Script(text=text, **changes))


def run(
    engine: Engine,
    candidates: Sequence[Candidate] = CANDIDATES,
    *,
    config: SelectionConfig = CONFIG,
    seed: int = 0,
    timeout_s: float = 100.0,
) -> Selection:
    async def main() -> Selection:
        return await select(engine, PROBLEM, candidates, config=config, seed=seed, timeout_s=timeout_s)

    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


# ---------------------------------------------------------------------------------------- selecting


def test_a_live_selector_overrules_the_votes_wherever_the_candidate_stands() -> None:
    engine = for_answer(RIGHT)
    selection = run(engine)
    assert (selection.answer, selection.liveness) == (RIGHT, Liveness.LIVE)
    assert selection.picks == ((RIGHT, 8), (WRONG, 0))
    assert (selection.num_parsed, selection.num_control_picks, selection.num_tokens) == (8, 0, 800)
    places = {shown(call.prompt).index(RIGHT) for call in engine.calls}
    assert places == {0, 1, 2}


def test_all_rounds_are_asked_at_once_with_the_settings_and_seeds_of_their_own() -> None:
    config = SelectionConfig(num_rounds=8, max_new_tokens=99, temperature=0.3)
    engine = for_answer(RIGHT)
    run(engine, config=config)
    assert {call.begun_s for call in engine.calls} == {engine.calls[0].begun_s}
    assert {(call.params.max_new_tokens, call.params.temperature) for call in engine.calls} == {(99, 0.3)}
    assert len({call.params.seed for call in engine.calls}) == 8


def test_the_same_seed_asks_the_same_questions_and_another_seed_others() -> None:
    def questions(seed: int) -> set[tuple[str, int]]:
        run(engine := for_answer(RIGHT), seed=seed)
        return {(call.prompt.messages[-1].content, call.params.seed) for call in engine.calls}

    assert questions(1) == questions(1)
    assert not questions(1) & questions(2)


def test_every_round_holds_one_planted_control_with_an_answer_that_nobody_gave() -> None:
    for seed in range(20):
        run(engine := for_answer(RIGHT), seed=seed)
        controls = {tuple(set(shown(call.prompt)) - {RIGHT, WRONG}) for call in engine.calls}
        assert len(controls) == 1
        assert len(controls.pop()) == 1


def test_only_the_candidates_with_the_most_votes_are_shown() -> None:
    many = [Candidate(answer=100 + votes, num_votes=votes, summary=f"\\boxed{{{100 + votes}}}") for votes in range(6)]
    run(engine := for_answer(105), many, config=SelectionConfig(num_rounds=8, max_candidates=3))
    for call in engine.calls:
        assert {105, 104, 103} <= set(shown(call.prompt))
        assert not {102, 101, 100} & set(shown(call.prompt))


def test_a_tie_of_picks_goes_to_more_votes() -> None:
    """Fifteen candidates convince with 4 of 8 picks, so two candidates can do so at once."""
    many = [Candidate(answer=100 + votes, num_votes=votes, summary=f"\\boxed{{{100 + votes}}}") for votes in range(15)]
    turns = itertools.cycle([103, 109])
    engine = judge(lambda answers, params: answers.index(next(turns)))
    selection = run(engine, many, config=SelectionConfig(num_rounds=8, max_candidates=16))
    assert selection.picks[:2] == ((109, 4), (103, 4))
    assert selection.answer == 109


def test_a_whole_completion_may_stand_for_a_summary() -> None:
    long = Candidate(answer=RIGHT, num_votes=1, summary="<think>" + "blah\n" * 5000 + "</think>So \\boxed{42}.")
    run(engine := for_answer(RIGHT), [CANDIDATES[0], long], config=SelectionConfig(num_rounds=5, summary_chars=100))
    content = engine.calls[0].prompt.messages[-1].content
    assert "think>" not in content
    assert len(content) < 1500
    assert RIGHT in shown(engine.calls[0].prompt)


# ------------------------------------------------------------------------------------------- is dead


@pytest.mark.parametrize(
    ("engine", "liveness"),
    [
        (judge(lambda answers, params: 0), Liveness.POSITION_ONLY),
        (judge(lambda answers, params: len(answers) - 1), Liveness.POSITION_ONLY),
        (saying("The best is \\boxed{Solution 2}."), Liveness.POSITION_ONLY),
        (saying("I cannot decide."), Liveness.TOO_FEW_PARSED),
        (saying("All of them score 0.5."), Liveness.TOO_FEW_PARSED),
        (saying("\\boxed{Solution 9}"), Liveness.TOO_FEW_PARSED),
        (judge(lambda answers, params: answers.index(sorted(answers)[params.seed % 2])), Liveness.INDIFFERENT),
        (judge(lambda answers, params: next(i for i, a in enumerate(answers) if a not in (RIGHT, WRONG))),
         Liveness.FAILED_CONTROL),
    ],
)  # fmt: skip
def test_a_dead_selector_is_reported_with_its_reason_and_ignored(
    engine: ScriptedEngine, liveness: Liveness, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "kit.selection"):
        selection = run(engine)
    assert (selection.answer, selection.liveness) == (None, liveness)
    assert "p1: the selector's picks are ignored" in caplog.text
    assert liveness.value in caplog.text


def test_a_live_selector_is_not_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    run(for_answer(RIGHT))
    assert not caplog.records


@pytest.mark.parametrize("fault", [Fault.ERROR, Fault.FAILED])
def test_broken_rounds_are_contained_and_leave_it_dead(fault: Fault) -> None:
    selection = run(saying("\\boxed{Solution 1}", fault=fault))
    assert (selection.answer, selection.liveness, selection.num_parsed) == (None, Liveness.TOO_FEW_PARSED, 0)


def test_a_bug_in_an_engine_costs_the_round_only(caplog: pytest.LogCaptureFixture) -> None:
    inner, broken = for_answer(RIGHT), itertools.count()

    class Buggy:
        async def sample(self, prompt: Prompt, params: SamplingParams, **rest: Any) -> Sample:
            if next(broken) == 0:
                raise ZeroDivisionError
            return await inner.sample(prompt, params, **rest)

    selection = run(Buggy())
    assert (selection.answer, selection.num_parsed) == (RIGHT, 7)
    assert "a comparison broke" in caplog.text


@pytest.mark.parametrize("fault", [Fault.HANG, Fault.LATE])
def test_it_returns_in_time_with_the_rounds_that_ended(fault: Fault) -> None:
    quick = for_answer(RIGHT)

    class LastHangs:
        hanging = saying("", seconds=1e6, fault=fault)

        async def sample(self, prompt: Prompt, params: SamplingParams, **rest: Any) -> Sample:
            engine = quick if len(quick.calls) < 7 else self.hanging
            return await engine.sample(prompt, params, **rest)

    async def main() -> tuple[Selection, float]:
        begun = trio.current_time()
        selection = await select(LastHangs(), PROBLEM, CANDIDATES, config=CONFIG, seed=0, timeout_s=50)
        return selection, trio.current_time() - begun

    selection, seconds = trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert seconds == pytest.approx(50)
    assert (selection.answer, selection.num_parsed) == (RIGHT, 7)
    assert LastHangs.hanging.num_cancelled == 1


def test_cancelling_it_frees_every_slot() -> None:
    engine = for_answer(RIGHT)

    async def main() -> bool:
        with trio.move_on_after(5) as scope:
            await select(engine, PROBLEM, CANDIDATES, config=CONFIG, seed=0, timeout_s=100)
        return scope.cancelled_caught

    assert trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert {call.outcome for call in engine.calls} == {Outcome.CANCELLED}


@pytest.mark.parametrize(
    ("candidates", "config", "timeout_s"),
    [
        (CANDIDATES, SelectionConfig(), 100.0),
        (CANDIDATES[:1], CONFIG, 100.0),
        ((), CONFIG, 100.0),
        (CANDIDATES, CONFIG, 0.0),
    ],
)
def test_nothing_is_asked_when_it_is_off_or_has_no_choice_or_no_time(
    candidates: Sequence[Candidate], config: SelectionConfig, timeout_s: float, caplog: pytest.LogCaptureFixture
) -> None:
    engine = for_answer(RIGHT)
    selection = run(engine, candidates, config=config, timeout_s=timeout_s)
    assert selection == Selection(answer=None, liveness=Liveness.UNTESTED)
    assert not engine.calls
    assert not caplog.records


def test_two_candidates_with_one_answer_are_refused() -> None:
    with pytest.raises(InputError, match="two candidates have one answer"):
        run(for_answer(RIGHT), [CANDIDATES[0], CANDIDATES[0]])


@pytest.mark.parametrize(
    "changes",
    [{"num_rounds": 4}, {"num_rounds": -1}, {"num_rounds": 65}, {"max_candidates": 1}, {"max_candidates": 17},
     {"max_new_tokens": 0}, {"summary_chars": 99}, {"temperature": -0.1}, {"temperature": float("nan")}],
)  # fmt: skip
def test_a_setting_outside_its_range_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(changes))):
        SelectionConfig(**changes)


# ----------------------------------------------------------------------------------------- liveness


def rounds(places: Sequence[int], orders: Sequence[Sequence[int]]) -> list[Pick]:
    return [Pick(order[place], place) for place, order in zip(places, orders, strict=True)]


def orders_of(num_candidates: int, num_rounds: int, random: Random) -> list[tuple[int, ...]]:
    return list(itertools.islice(rotated_orders(num_candidates, random), num_rounds))


def is_live(picks: Sequence[Pick], num_candidates: int, num_rounds: int) -> bool:
    return liveness_of(picks, num_candidates=num_candidates, num_rounds=num_rounds) is Liveness.LIVE


def live_share(
    num_candidates: int, num_rounds: int, pick: Callable[[Sequence[int], Random], int], num_trials: int
) -> float:
    """The share of simulated comparisons that are declared live. pick: (order, random) -> place."""
    random = Random(f"{num_candidates}|{num_rounds}")
    live = 0
    for _ in range(num_trials):
        orders = orders_of(num_candidates, num_rounds, random)
        live += is_live(rounds([pick(order, random) for order in orders], orders), num_candidates, num_rounds)
    return live / num_trials


def stated_rate(num_rounds: int, num_candidates: int) -> float:
    least = least_picks(num_rounds, num_candidates)
    assert least is not None
    return false_alarm_rate(num_rounds, num_candidates, least)


@pytest.mark.parametrize(("num_rounds", "num_candidates"), [(5, 2), (8, 2), (8, 3), (5, 4)])
def test_of_all_the_picks_that_guessing_could_make_no_more_are_live_than_the_stated_rate(
    num_rounds: int, num_candidates: int
) -> None:
    """Exhaustive: a selector that sees through the control and guesses makes every sequence equally likely."""
    orders = orders_of(num_candidates, num_rounds, Random(0))
    cases = list(itertools.product(range(num_candidates), repeat=num_rounds))
    num_live = sum(
        is_live([Pick(option, order.index(option)) for option, order in zip(case, orders, strict=True)],
                num_candidates, num_rounds)
        for case in cases
    )  # fmt: skip
    stated = stated_rate(num_rounds, num_candidates)
    assert 0.5 * stated < num_live / len(cases) <= stated + 1e-12 <= MAX_FALSE_ALARM


def test_picks_at_random_among_two_candidates_and_the_control_are_live_in_one_of_200() -> None:
    """By hand, of 3^8: seven or eight picks of either candidate, the control then at most once."""
    orders = orders_of(2, 8, Random(0))
    num_live = sum(is_live(rounds(places, orders), 2, 8) for places in itertools.product(range(3), repeat=8))
    assert num_live == 2 * (8 * 2 + 1)
    assert num_live / 3**8 == pytest.approx(0.005, abs=5e-4)


def indifferent(order: Sequence[int], random: Random) -> int:
    return random.randrange(len(order))


def mostly_the_first(order: Sequence[int], random: Random) -> int:
    return 0 if random.random() < 0.6 else random.randrange(len(order))


def mostly_the_first_candidate(order: Sequence[int], random: Random) -> int:
    places = [place for place, option in enumerate(order) if option != len(order) - 1]
    return places[0] if random.random() < 0.6 else random.choice(places)


def one_of_the_first_two(order: Sequence[int], random: Random) -> int:
    return random.randrange(2)


@pytest.mark.parametrize("num_candidates", [2, 3, 4])
@pytest.mark.parametrize("num_rounds", [8, 11])
@pytest.mark.parametrize("pick", [indifferent, mostly_the_first, mostly_the_first_candidate, one_of_the_first_two])
def test_a_selector_without_an_eye_for_content_is_dead_at_the_stated_rate(
    pick: Callable[[Sequence[int], Random], int], num_rounds: int, num_candidates: int
) -> None:
    stated = stated_rate(num_rounds, num_candidates)
    share = live_share(num_candidates, num_rounds, pick, 1500)
    assert share <= stated + 2 * (stated / 1500) ** 0.5


@pytest.mark.parametrize(
    ("num_rounds", "num_candidates", "chance", "stated"),
    [
        (8, 2, 0.8, 0.50),
        (8, 2, 0.9, 0.81),
        (8, 2, 0.95, 0.94),
        (8, 3, 0.8, 0.80),
        (8, 4, 0.9, 0.96),
        (16, 2, 0.9, 0.98),
    ],
)
def test_a_good_selector_is_live_at_the_stated_rate(
    num_rounds: int, num_candidates: int, chance: float, stated: float
) -> None:
    """Its mistakes fall on the other candidates, never on the control."""

    def pick(order: Sequence[int], random: Random) -> int:
        wanted = 0 if random.random() < chance else random.randrange(1, num_candidates)
        return order.index(wanted)

    assert live_share(num_candidates, num_rounds, pick, 3000) == pytest.approx(stated, abs=0.02)


def test_a_selector_that_often_likes_the_control_is_dead_although_it_likes_one_candidate_most() -> None:
    picks = [Pick(0, place % 4) for place in range(6)]
    assert is_live([*picks, Pick(3, 0), Pick(1, 1)], 3, 8)
    assert liveness_of([*picks, Pick(3, 0), Pick(3, 1)], num_candidates=3, num_rounds=8) is Liveness.FAILED_CONTROL


def test_fewer_than_half_of_the_rounds_are_too_few_however_clear() -> None:
    picks = [Pick(0, place % 3) for place in range(7)]
    assert is_live(picks, 2, 14)
    assert liveness_of(picks, num_candidates=2, num_rounds=15) is Liveness.TOO_FEW_PARSED
    assert liveness_of(picks[:4], num_candidates=2, num_rounds=5) is Liveness.TOO_FEW_PARSED
    assert liveness_of([], num_candidates=2, num_rounds=8) is Liveness.TOO_FEW_PARSED


@pytest.mark.parametrize(
    ("num_rounds", "num_candidates", "least", "rate"),
    [(8, 2, 7, 0.0703), (8, 3, 6, 0.0590), (8, 4, 6, 0.0169), (16, 2, 12, 0.0768)],
)
def test_the_table_of_the_modules_text(num_rounds: int, num_candidates: int, least: int, rate: float) -> None:
    assert least_picks(num_rounds, num_candidates) == least
    assert false_alarm_rate(num_rounds, num_candidates, least) == pytest.approx(rate, abs=5e-5)
    assert false_alarm_rate(num_rounds, num_candidates, least - 1) > MAX_FALSE_ALARM


@given(st.integers(2, 16), st.integers(1, 40), st.integers())
def test_every_option_has_its_turn_at_every_place(num_candidates: int, num_rounds: int, seed: int) -> None:
    orders = orders_of(num_candidates, num_rounds, Random(seed))
    assert all(sorted(order) == list(range(num_candidates + 1)) for order in orders)
    among_candidates = [[each for each in order if each != num_candidates] for order in orders]
    counts = Counter(seat for order in among_candidates for seat in enumerate(order))
    full = num_rounds // num_candidates
    assert set(counts.values()) <= {full, full + 1}
    control = Counter(order.index(num_candidates) for order in orders)
    full = num_rounds // (num_candidates + 1)
    assert set(control.values()) <= {full, full + 1}


# --------------------------------------------------------------------------------------------- pick


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("So \\boxed{Solution 2}.", 1),
        ("So \\boxed{\\text{Solution 2}}.", 1),
        ("So \\boxed{\\text{Solution }2}.", 1),
        ("So \\boxed{S3}.", 2),
        ("So \\boxed{2}.", 1),
        ("So \\boxed{#1}.", 0),
        ("\\boxed{Solution 1}? No: \\boxed{Solution 3}.", 2),
        ("<think>\\boxed{Solution 1}</think>\\boxed{Solution 3}", 2),
        ("Judgment: 3", 2),
        ("**Judgment:** Solution 3", 2),
        ("Judgement: IDX 1", 0),
        ("Thus the best solution is Solution 2.", 1),
        ("The correct solution is 1.", 0),
        ("Its answer is \\boxed{77}.", 1),  # boxed the answer rather than the label
        ("Its answer is \\boxed{500}. Judgment: 1", 0),
        ("\\boxed{Solution 4}", None),
        ("\\boxed{Solution 0}", None),
        ("\\boxed{Solutions 1 and 2}", None),
        ("\\boxed{Solution 77}", None),
        ("\\boxed{500}", None),
        ("\\boxed{" + "9" * 5000 + "}", None),
        ("Judgment: none", None),
        ("The best solution has 3 steps", None),
        ("", None),
    ],
)
def test_reads_the_pick(text: str, place: int | None) -> None:
    assert picked(text, [10, 77, 20]) == place


def test_a_lone_number_that_is_one_solutions_label_and_anothers_answer_is_not_read() -> None:
    assert picked("\\boxed{2}", [2, 5]) is None
    assert picked("\\boxed{Solution 2}", [2, 5]) == 1
    assert picked("\\boxed{2}", [5, 2]) == 1


BOXED = st.builds("\\boxed{{{}{}}} {}".format, st.sampled_from(["", "Solution ", "S"]), st.integers(), st.text())


@given(st.text() | BOXED | st.builds("Judgment: {}".format, st.integers()))
def test_reading_a_pick_is_total(text: str) -> None:
    assert picked(text, [10, 77, 20]) in (None, 0, 1, 2)


def test_the_question_numbers_the_solutions_as_they_are_given() -> None:
    content = comparison_prompt(Problem("p", "Find {x} in $\\{1\\}$."), ["first", "second {y}"]).messages[-1].content
    assert "Find {x} in $\\{1\\}$." in content
    assert re.search(r"### Solution 1\nfirst\n\n### Solution 2\nsecond \{y\}\n", content)
    assert "\\boxed{Solution i}" in content


# ---------------------------------------------------------------------------------------- summaries


def test_a_summary_is_the_end_that_leads_to_the_box_begun_at_a_line() -> None:
    text = "<think>" + "wandering\n" * 100 + "</think>\nWe add.\nThus $\\boxed{42}$.\n" + "Thanks for asking! " * 50
    summary = summary_of(text, max_chars=100)
    assert summary.endswith("We add.\nThus $\\boxed{42}$.")
    assert summary.startswith("wandering\n")
    assert "think" not in summary


def test_a_summary_of_a_text_without_an_answer_is_its_end() -> None:
    assert summary_of("a" * 50 + " no answer", max_chars=20).endswith(" no answer")


def test_a_short_text_is_kept_whole() -> None:
    assert summary_of("We add: \\boxed{42}.", max_chars=1000) == "We add: \\boxed{42}."


def test_no_mark_of_another_turn_reaches_the_prompt() -> None:
    text = (
        "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>So \\boxed{42}.<|return|>"
    )
    summary = summary_of(text, max_chars=1000)
    assert "<|" not in summary
    assert summary.endswith("So \\boxed{42}.")


@given(st.text(alphabet="ab {}\\boxed42\n<think>/|", max_size=300), st.integers(1, 200))
def test_a_summary_is_bounded(text: str, max_chars: int) -> None:
    assert len(summary_of(text, max_chars=max_chars)) <= max_chars


@given(st.text(alphabet="ab. \n", max_size=300), st.integers(0, 99_999), st.text(alphabet="ab. \n", max_size=300))
def test_a_summary_keeps_the_box(before: str, answer: int, after: str) -> None:
    assert f"\\boxed{{{answer}}}" in summary_of(f"{before}\\boxed{{{answer}}}{after}", max_chars=100)


def test_a_summary_of_no_length_is_refused() -> None:
    with pytest.raises(InputError, match="max_chars"):
        summary_of("text", max_chars=0)
