"""GenSelect against scripted judges."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from kit.answers.extraction import last_boxed
from kit.engines.scripted import Fault, Outcome, Script, ScriptedEngine
from kit.errors import InputError
from kit.problem import Problem
from kit.sampling import Engine, FinishReason, Prompt, Sample, SamplingParams
from kit.solver.genselect import (
    Candidate,
    Selection,
    SelectionConfig,
    comparison_prompt,
    picked,
    select,
    summary_of,
)
from kit.solver.liveness import Liveness

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
    width: int = 8,
) -> Selection:
    async def main() -> Selection:
        return await select(engine, PROBLEM, candidates, config=config, seed=seed, timeout_s=timeout_s, width=width)

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


def test_no_more_rounds_are_in_flight_than_the_width_and_none_is_left_out() -> None:
    engine = for_answer(RIGHT)
    selection = run(engine, width=3)
    begun_s = [call.begun_s - engine.calls[0].begun_s for call in engine.calls]
    assert begun_s == pytest.approx([0] * 3 + [10] * 3 + [20] * 2)
    assert [call.timeout_s for call in engine.calls] == pytest.approx([100] * 3 + [90] * 3 + [80] * 2)
    assert (selection.answer, selection.num_parsed) == (RIGHT, 8)


def test_rounds_that_wait_for_their_turn_are_given_up_when_the_time_is_up() -> None:
    engine = for_answer(RIGHT)
    selection = run(engine, width=3, timeout_s=25)
    assert (selection.num_parsed, len(engine.calls)) == (6, 8)
    one_by_one = for_answer(RIGHT)
    assert run(one_by_one, width=1, timeout_s=25).num_parsed == 2
    assert len(one_by_one.calls) == 3


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
    with caplog.at_level(logging.WARNING, "kit.solver.genselect"):
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


@pytest.mark.parametrize("finish", [finish for finish in FinishReason if finish is not FinishReason.STOP])
def test_a_comparison_that_its_model_did_not_end_picks_nothing(finish: FinishReason) -> None:
    """A last call had put the problem's answer into comparisons cut at their cap, and 8 of 8 were declared live."""
    inner = for_answer(RIGHT)

    class Cut:
        async def sample(self, prompt: Prompt, params: SamplingParams, **rest: Any) -> Sample:
            return dataclasses.replace(await inner.sample(prompt, params, **rest), finish=finish)

    selection = run(Cut())
    assert (selection.answer, selection.liveness) == (None, Liveness.TOO_FEW_PARSED)
    assert (selection.num_parsed, selection.num_tokens) == (0, 800)


def test_a_bug_in_an_engine_costs_the_round_only(caplog: pytest.LogCaptureFixture) -> None:
    inner, broken = for_answer(RIGHT), itertools.count()

    class Buggy:
        async def sample(self, prompt: Prompt, params: SamplingParams, **rest: Any) -> Sample:
            if next(broken) == 0:
                raise ZeroDivisionError
            return await inner.sample(prompt, params, **rest)

    selection = run(Buggy())
    assert (selection.answer, selection.num_parsed) == (RIGHT, 7)
    assert "a comparison failed: the engine broke: ZeroDivisionError" in caplog.text


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


def test_a_width_of_none_is_refused() -> None:
    with pytest.raises(InputError, match="width must be at least 1, got 0"):
        run(for_answer(RIGHT), width=0)


@pytest.mark.parametrize(
    "changes",
    [{"num_rounds": 4}, {"num_rounds": -1}, {"num_rounds": 65}, {"max_candidates": 1}, {"max_candidates": 17},
     {"max_new_tokens": 0}, {"summary_chars": 99}, {"temperature": -0.1}, {"temperature": float("nan")}],
)  # fmt: skip
def test_a_setting_outside_its_range_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(changes))):
        SelectionConfig(**changes)


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
