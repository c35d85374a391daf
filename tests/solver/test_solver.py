"""The solver on trio's autojump clock: competitions of hours run in milliseconds, deterministically."""

from __future__ import annotations

import dataclasses
import gc
import re
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest
import trio
import trio.testing

from kit.budget import Budget, BudgetConfig
from kit.engines.scripted import Fault, Outcome, Script, ScriptedEngine
from kit.errors import InputError
from kit.problem import Problem
from kit.prompting import build_prompt
from kit.sampling import FinishReason, OnChunk, Prompt, Sample, SamplingParams
from kit.solver.attempts import AttemptLoop
from kit.solver.config import SamplingChoice, SolverConfig, attempt_seed
from kit.solver.genselect import SelectionConfig
from kit.solver.journal import Journal, read_records
from kit.solver.pacing import PacingConfig
from kit.solver.reading import LARGE_CHARS
from kit.solver.records import sample_record, solution_of, solution_record
from kit.solver.solution import Solution
from kit.solver.solver import Solver
from kit.solver.stopping import StopConfig, StopReason
from kit.solver.vote_state import VoteState

PROBLEM = Problem("p1", "What is $1+1$?")
UNPACED = PacingConfig(kind="off")
RULE = StopConfig(num_samples=16, rule="adaptive(0.95)", max_failures=8)


def boxed(answer: object) -> str:
    return f"So the answer is \\boxed{{{answer}}}."


def always(script: Script) -> ScriptedEngine:
    return ScriptedEngine(lambda prompt, params: script)


def in_turn(*scripts: Script) -> ScriptedEngine:
    """Plays the scripts in the order of the calls, the last one for ever."""
    left = list(scripts)
    return ScriptedEngine(lambda prompt, params: left.pop(0) if len(left) > 1 else left[0])


def run(
    engine: ScriptedEngine,
    *problems: Problem,
    journal: Journal | None = None,
    config: SolverConfig | None = None,
    budget: BudgetConfig | None = None,
) -> list[Solution]:
    """Solve the problems one after another in virtual time, the competition starting at zero."""

    async def competition() -> list[Solution]:
        start = trio.current_time()
        clock = Budget(budget or BudgetConfig(), lambda: trio.current_time() - start)
        solver = Solver(engine, clock, journal, config or SolverConfig(stop=RULE, pacing=UNPACED, width=8))
        return [await solver.solve(problem) for problem in problems or (PROBLEM,)]

    return trio.run(competition, clock=trio.testing.MockClock(autojump_threshold=0))


def test_stops_sampling_once_the_majority_is_certain_enough_and_cancels_the_rest() -> None:
    engine = in_turn(*[Script(text=boxed(2), seconds=10)] * 4, Script(text=boxed(2), seconds=1000))
    (solution,) = run(engine)
    assert (solution.answer, solution.reason) == (2, StopReason.CONFIDENT)
    assert (solution.votes, solution.num_samples, solution.seconds) == (((2, 4),), 4, 10)
    assert engine.num_cancelled == 4 + 3  # four begun at once, three refilled into freed slots
    assert engine.num_running == 0


def test_samples_that_end_together_with_the_deciding_one_do_not_reopen_the_vote() -> None:
    """Bug of an earlier version: 4–0 stopped the draw, the fifth made it 4–1, and the reason read "out of time"."""
    engine = in_turn(*[Script(text=boxed(2))] * 4, Script(text=boxed(3)), Script(text=boxed(2)))
    (solution,) = run(engine)
    assert (solution.reason, solution.answer) == (StopReason.CONFIDENT, 2)
    assert 4 <= solution.num_samples <= 8


def test_without_a_threshold_it_stops_when_nobody_can_catch_up() -> None:
    config = SolverConfig(pacing=UNPACED, stop=StopConfig(num_samples=8, rule="uncatchable"), width=1)
    (solution,) = run(always(Script(text=boxed(2))), config=config)
    assert (solution.reason, solution.num_samples) == (StopReason.DECIDED, 5)


def test_draws_all_samples_when_they_disagree_refilling_freed_slots() -> None:
    scripts = [Script(text=boxed(number), seconds=1 + number) for number in range(16)]
    engine = in_turn(*scripts)
    (solution,) = run(engine)
    assert (solution.reason, solution.num_samples, solution.answer) == (StopReason.ALL_SAMPLED, 16, 15)
    assert max(sum(other.begun_s <= call.begun_s < other.ended_s for other in engine.calls if other.ended_s)
               for call in engine.calls) == 8  # fmt: skip


def test_an_attempt_cut_by_the_deadline_still_votes() -> None:
    slow = Script(text=boxed(42) + " " * 1000, seconds=10_000, num_tokens=1000)
    config = SolverConfig(stop=RULE, sampling=SamplingChoice(max_new_tokens=1000))
    budget = BudgetConfig(limit_s=1000, reserve_s=100, num_problems=1)
    (solution,) = run(always(slow), config=config, budget=budget)
    assert (solution.answer, solution.guess) == (42, "")
    assert solution.seconds == 900
    assert solution.reason is StopReason.CONFIDENT


@pytest.mark.parametrize("fault", [Fault.HANG, Fault.LATE])
def test_an_engine_that_ignores_its_time_is_cut_off_after_the_grace(fault: Fault) -> None:
    engine = always(Script(text=boxed(1), seconds=10**6, fault=fault))
    (solution,) = run(engine, budget=BudgetConfig(limit_s=1000, reserve_s=100, num_problems=1))
    assert (solution.reason, solution.seconds) == (StopReason.OUT_OF_TIME, 905)
    assert solution.guess.startswith("no sample ended (out of time")
    assert engine.num_running == 0


@pytest.mark.parametrize("fault", [Fault.ERROR, Fault.FAILED])
def test_a_broken_attempt_is_drawn_again_and_does_not_count(fault: Fault) -> None:
    broken = Script(seconds=1, fault=fault)
    engine = in_turn(broken, broken, broken, Script(text=boxed(5), seconds=1))
    (solution,) = run(engine)
    assert (solution.answer, solution.num_samples, solution.reason) == (5, 4, StopReason.CONFIDENT)


class Faulty(ScriptedEngine):
    """Answers 6, but does something no engine should at its first call."""

    def __init__(self, first: Callable[[SamplingParams], Sample]) -> None:
        super().__init__(lambda prompt, params: Script(text=boxed(6)))
        self._first: Callable[[SamplingParams], Sample] | None = first

    async def sample(
        self, prompt: Prompt, params: SamplingParams, *, timeout_s: float, on_chunk: OnChunk | None = None
    ) -> Sample:
        first, self._first = self._first, None
        return first(params) if first else await super().sample(prompt, params, timeout_s=timeout_s)


def test_a_bug_in_an_engine_costs_the_attempt_and_not_the_problem(caplog: pytest.LogCaptureFixture) -> None:
    def divide(params: SamplingParams) -> Sample:
        raise ZeroDivisionError("a bug in an engine")

    (solution,) = run(Faulty(divide))
    assert (solution.answer, solution.votes, solution.guess) == (6, ((6, 4),), "")
    assert "a bug in an engine" in caplog.text


BROKEN_SAMPLES: dict[str, dict[str, object]] = {
    "no text": {"text": None},
    "bytes": {"text": b"\\boxed{5}"},
    "an empty text": {"text": " \n"},
    "no tokens": {"num_tokens": None},
    "a depth in words": {"depth": "three"},
    "an unheard-of end": {"finish": "weary"},
}


@pytest.mark.parametrize("change", BROKEN_SAMPLES.values(), ids=BROKEN_SAMPLES.keys())
def test_what_is_no_sample_costs_its_own_attempt_only(change: dict[str, object]) -> None:
    def broken(params: SamplingParams) -> Sample:
        good = Sample(text=boxed(5), num_tokens=1, finish=FinishReason.STOP, seconds=0, seed=params.seed)
        return dataclasses.replace(good, **change)  # type: ignore[arg-type]

    (solution,) = run(Faulty(broken))
    assert (solution.answer, solution.votes, solution.num_samples) == (6, ((6, 4),), 4)


@pytest.mark.parametrize("ending", [SystemExit, GeneratorExit, ValueError, OSError])
def test_nothing_that_an_engine_raises_leaves_the_solver(ending: type[BaseException]) -> None:
    def raises(params: SamplingParams) -> Sample:
        raise ending("out")

    (solution,) = run(Faulty(raises))
    assert (solution.answer, solution.votes) == (6, ((6, 4),))


def test_numbers_of_a_tensor_library_are_counted_and_journalled(tmp_path: Path) -> None:
    """Bug of an earlier version: JSON refused them, and the first attempt cost the problem."""

    def numpy_like(params: SamplingParams) -> Sample:
        return Sample(
            text=boxed(6), num_tokens=np.int64(5), finish=FinishReason.STOP, seconds=np.float64(1), seed=params.seed,
            mean_entropy=np.float32(0.5), depth=np.int32(3),
        )  # fmt: skip

    with Journal.open(tmp_path / "journal.jsonl", run={}) as journal:
        (solution,) = run(Faulty(numpy_like), journal=journal)
    assert solution.votes == ((6, 4),)
    told = [record["mean_entropy"] for record in read_records(journal.path) if record["kind"] == "sample"]
    assert 0.5 in told


def test_an_engine_that_only_breaks_is_given_up_once_its_problem_had_its_share() -> None:
    budget = BudgetConfig(limit_s=1100, reserve_s=100, num_problems=4, stretch=3)
    (solution,) = run(always(Script(fault=Fault.ERROR)), budget=budget)
    assert (solution.answer, solution.reason) == (0, StopReason.ENGINE_FAILED)
    assert solution.guess.startswith("no sample ended (engine failed, ")
    assert 250 <= solution.seconds <= 250 + 60  # an even share, and at most a pause


@pytest.mark.parametrize("fault", [Fault.ERROR, Fault.NONE])
def test_an_engine_that_comes_back_within_the_share_costs_no_answer(fault: Fault) -> None:
    """Bug of an earlier version: ten seconds of breaking, or of empty texts, were the end of a problem."""
    engine = in_turn(*[Script(fault=fault, text="", seconds=0.1)] * 40, Script(text=boxed(5), seconds=1))
    (solution,) = run(engine, budget=BudgetConfig(limit_s=1100, reserve_s=100, num_problems=2))
    assert (solution.answer, solution.reason) == (5, StopReason.CONFIDENT)


@pytest.mark.parametrize("text", ["I do not know.", "\\boxed{\\text{none}}", "\\boxed{2.5}"])
def test_a_model_that_answers_nothing_usable_gives_a_stated_guess(text: str) -> None:
    (solution,) = run(always(Script(text=text)))
    assert (solution.answer, solution.reason) == (0, StopReason.ALL_SAMPLED)
    assert solution.guess == "none of 16 samples held a usable answer"


def test_answers_out_of_range_become_a_guess_modulo_100000_but_never_a_vote() -> None:
    engine = in_turn(Script(text=boxed(121818)), Script(text=boxed(7)), Script(text=boxed(121818)))
    (solution,) = run(engine, config=SolverConfig(pacing=UNPACED, stop=StopConfig(num_samples=3)))
    assert (solution.answer, solution.votes, solution.guess) == (7, ((7, 1),), "")
    (solution,) = run(always(Script(text=boxed(121818))))
    assert solution.answer == 21818
    assert "out of range" in solution.guess


def test_a_modulus_stated_by_the_problem_is_applied_to_the_vote() -> None:
    problem = Problem("m", "Let $N=12!$. Find the remainder when $N$ is divided by $10^{5}$.")
    (solution,) = run(always(Script(text=boxed(121818))), problem)
    assert (solution.answer, solution.guess) == (21818, "")


def test_after_the_cutoff_every_problem_is_answered_at_once() -> None:
    problems = [Problem(f"p{number}", "?") for number in range(50)]
    engine = always(Script(text="", seconds=10**6, fault=Fault.HANG))
    solutions = run(engine, *problems, budget=BudgetConfig(limit_s=3600, reserve_s=600, floor_s=30, num_problems=10))
    assert all(0 <= solution.answer <= 99_999 for solution in solutions)
    assert sum(solution.seconds for solution in solutions) <= 3000 + 50 * 5
    assert solutions[-1].seconds < 60


def test_the_same_seed_gives_the_same_attempts_and_another_seed_others() -> None:
    def seeds(seed: int) -> list[int]:
        engine = always(Script(text=boxed(1)))
        run(engine, config=SolverConfig(stop=RULE, seed=seed))
        return [call.params.seed for call in engine.calls]

    assert seeds(0) == seeds(0)
    assert not set(seeds(0)) & set(seeds(1))
    assert len(set(seeds(0))) == len(seeds(0))
    assert attempt_seed(0, PROBLEM, 1) != attempt_seed(0, Problem("p2", PROBLEM.text), 1)


def test_a_contested_vote_climbs_the_ladder_of_depths() -> None:
    config = SolverConfig(
        pacing=UNPACED, stop=StopConfig(num_samples=8, rule="uncatchable"), width=1, depths=(3, 5, 10)
    )
    engine = ScriptedEngine(lambda prompt, params: Script(text=boxed(params.seed % 99_991)))
    (contested,) = run(engine, config=config)
    assert [call.params.depth for call in engine.calls] == [3, 3, 3, 5, 5, 5, 10, 10]
    assert contested.reason is StopReason.ALL_SAMPLED
    engine = always(Script(text=boxed(1)))
    run(
        engine,
        config=SolverConfig(
            pacing=UNPACED, stop=StopConfig(num_samples=16, rule="adaptive(0.95)"), width=1, depths=(3, 5, 10)
        ),
    )
    assert [call.params.depth for call in engine.calls] == [3] * 4  # a clear vote never pays for depth
    broken = Script(fault=Fault.ERROR, seconds=1)
    engine = in_turn(*[broken] * 8, Script(text="I do not know."))
    run(engine, config=dataclasses.replace(config, stop=StopConfig(num_samples=8)))
    assert [call.params.depth for call in engine.calls] == [3, 3, 3, 5, 5, 5, 10, 10] * 2
    engine = always(Script(text=boxed(1)))
    run(engine)
    assert {call.params.depth for call in engine.calls} == {None}
    with pytest.raises(InputError, match="depths"):
        SolverConfig(depths=(3, 65))


def answering(*, answer: int = 3, seconds: float = 5) -> Callable[[Prompt, SamplingParams], Script]:
    return lambda prompt, params: Script(text=boxed(answer), seconds=seconds + params.seed % 97)


def test_a_resumed_run_repeats_no_finished_sample_and_ends_like_an_unbroken_one(tmp_path: Path) -> None:
    config = SolverConfig(pacing=UNPACED, stop=StopConfig(num_samples=12, rule="uncatchable"), width=3)
    disagreeing = ScriptedEngine(
        lambda prompt, params: Script(text=boxed(params.seed % 5), seconds=5 + params.seed % 97)
    )
    with Journal.open(tmp_path / "whole", run={}) as journal:
        (unbroken,) = run(disagreeing, journal=journal, config=config)
    whole = (tmp_path / "whole").read_text().splitlines(keepends=True)
    for num_lines in range(1, len(whole)):
        path = tmp_path / f"broken{num_lines}"
        path.write_text("".join(whole[:num_lines]))
        done = {record["seed"] for record in read_records(path) if record["kind"] == "sample"}
        engine = ScriptedEngine(disagreeing._write)
        with Journal.open(path, run={}) as journal:
            (resumed,) = run(engine, journal=journal, config=config)
        assert not done & {call.params.seed for call in engine.calls}
        assert (resumed.answer, resumed.votes) == (unbroken.answer, unbroken.votes)


def test_a_problem_that_the_journal_answers_is_not_sampled_again(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "j", run={}) as journal:
        (first,) = run(ScriptedEngine(answering()), journal=journal)
    engine = ScriptedEngine(answering(answer=4))
    with Journal.open(tmp_path / "j", run={}) as journal:
        (again,) = run(engine, journal=journal)
    assert again == first
    assert not engine.calls


@pytest.mark.parametrize("is_cancelled", [False, True], ids=["its caller waits", "its caller answers by himself"])
def test_a_solution_goes_on_record_where_the_caller_has_not_answered_by_himself(
    tmp_path: Path, is_cancelled: bool
) -> None:
    claim: Future[Solution] = Future()
    if is_cancelled:
        claim.cancel()

    async def main() -> Solution:
        budget = Budget(BudgetConfig(), trio.current_time)
        return await Solver(ScriptedEngine(answering()), budget, journal).solve(PROBLEM, claim=claim)

    with Journal.open(tmp_path / "j", run={}) as journal:
        solution = trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert is_cancelled or claim.result() == solution
    kinds = [record["kind"] for record in read_records(tmp_path / "j")]
    assert kinds.count("solution") == (not is_cancelled)
    assert kinds.count("sample") == solution.num_samples > 0


def test_a_guess_in_the_journal_is_not_final(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "j", run={}) as journal:
        run(always(Script(fault=Fault.ERROR)), journal=journal)
    with Journal.open(tmp_path / "j", run={}) as journal:
        (again,) = run(ScriptedEngine(answering()), journal=journal)
    assert (again.answer, again.guess) == (3, "")


def num_turns_while_resumed(path: Path, *texts: str) -> int:
    """How often the loop comes round, on a real clock, while these samples are resumed and answer the problem."""
    with Journal.open(path, run={}) as journal:
        for number, text in enumerate(texts):
            sample = Sample(text=text, num_tokens=1, finish=FinishReason.STOP, seconds=1, seed=number)
            journal.append(sample_record(PROBLEM, number, sample, None, begun_s=0, ended_s=1))
    num_turns = 0

    async def main() -> Solution:
        async def count() -> None:
            nonlocal num_turns
            while True:
                await trio.lowlevel.checkpoint()
                num_turns += 1

        config = SolverConfig(stop=StopConfig(num_samples=len(texts), rule="uncatchable"))
        with Journal.open(path, run={}) as journal:
            solver = Solver(ScriptedEngine(answering()), Budget(clock=trio.current_time), journal, config)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(count)
                solution = await solver.solve(PROBLEM)
                nursery.cancel_scope.cancel()
        return solution

    solution = trio.run(main)
    assert (solution.votes, solution.num_samples) == (((2, len(texts)),), len(texts))
    return num_turns


def test_the_loop_comes_round_while_a_journal_is_resumed_and_large_texts_are_read_beside_it(tmp_path: Path) -> None:
    """Bug of an earlier version: all of a journal's texts were read in one go, and every deadline waited for them."""
    assert num_turns_while_resumed(tmp_path / "few", boxed(2)) <= 2
    assert num_turns_while_resumed(tmp_path / "many", *[boxed(2)] * 20) >= 15
    assert num_turns_while_resumed(tmp_path / "large", "a" * LARGE_CHARS + boxed(2)) > 2


def test_every_sample_is_in_the_journal_with_how_it_ended(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "j", run={}) as journal:
        engine = in_turn(Script(fault=Fault.ERROR, seconds=1), Script(text=boxed(8), seconds=2))
        run(engine, journal=journal)
    records = [record for record in read_records(tmp_path / "j") if record["kind"] == "sample"]
    finishes = [record["finish"] for record in records]
    assert finishes == [FinishReason.FAILED, FinishReason.STOP, FinishReason.STOP, FinishReason.STOP, FinishReason.STOP]
    assert "the engine breaks" in records[0]["error"]
    assert all("token_stats" not in record for record in records)  # megabytes, for a long thought
    num_returned = sum(call.outcome in (Outcome.RETURNED, Outcome.RAISED) for call in engine.calls)
    assert num_returned == len(records)


def test_a_journal_that_cannot_be_written_costs_no_answer(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    journal = Journal.open(tmp_path / "j", run={})
    journal.close()
    broken = Journal(journal.path, open("/dev/full", "ab", buffering=0), ())  # noqa: PTH123, SIM115
    (solution,) = run(always(Script(text=boxed(6))), journal=broken)
    broken.close()
    assert solution.answer == 6
    assert "not journalled" in caplog.text
    assert "No space left" in caplog.text


def test_a_solution_survives_the_journal() -> None:
    (solution,) = run(always(Script(text=boxed(6))))
    assert solution_of(solution_record(PROBLEM, solution)) == solution


# ---------------------------------------------------------------------------------- selection, memory, haste

CONTESTED = (42, 41, 42, 41, 42, 41, 41, 41)
SELECTING = SolverConfig(
    stop=StopConfig(num_samples=8, rule="adaptive(0.95)"),
    pacing=UNPACED,
    selection=SelectionConfig(num_rounds=8),
    width=8,
)


def is_comparison(prompt: Prompt) -> bool:
    return "### Solution" in prompt.messages[-1].content


class Judged(ScriptedEngine):
    """Attempts end one after another with these answers; a comparison is answered by `judge`."""

    def __init__(
        self, judge: Callable[[Prompt], Script], *, answers: Sequence[int] = CONTESTED, seconds: float = 10
    ) -> None:
        left = iter(enumerate(answers))

        def write(prompt: Prompt, params: SamplingParams) -> Script:
            if is_comparison(prompt):
                return judge(prompt)
            number, answer = next(left)
            return Script(text=boxed(answer) + " " * 900, seconds=seconds + number)

        super().__init__(write)

    @property
    def num_comparisons(self) -> int:
        return sum(is_comparison(call.prompt) for call in self.calls)


def picking(answer: int, *, seconds: float = 5) -> Callable[[Prompt], Script]:
    """The place at which a solution with this answer is shown."""

    def judge(prompt: Prompt) -> Script:
        solutions = re.split(r"### Solution \d+", prompt.messages[-1].content)[1:]
        place = next(place for place, text in enumerate(solutions, start=1) if f"{{{answer}}}" in text)
        return Script(text=f"\\boxed{{Solution {place}}}", seconds=seconds, num_tokens=7)

    return judge


def test_a_live_selector_overrules_the_leader_of_a_contested_vote() -> None:
    engine = Judged(picking(42))
    (solution,) = run(engine, config=SELECTING)
    assert (solution.answer, solution.guess, solution.reason) == (42, "", StopReason.ALL_SAMPLED)
    assert solution.votes == ((41, 5), (42, 3))
    assert (solution.num_samples, solution.num_tokens, solution.seconds) == (8, 8 * 100 + 8 * 7, 17 + 5)
    assert engine.num_comparisons == 8


def test_selection_is_off_unless_asked_for() -> None:
    engine = Judged(picking(42))
    (solution,) = run(engine, config=dataclasses.replace(SELECTING, selection=SelectionConfig()))
    assert (solution.answer, engine.num_comparisons) == (41, 0)


@pytest.mark.parametrize(
    ("rule", "num_samples", "reason"),
    [
        ("adaptive(0.95)", 8, StopReason.CONFIDENT),
        ("uncatchable", 8, StopReason.DECIDED),
        ("votes(3)", 2, StopReason.ALL_SAMPLED),
    ],
)
def test_a_vote_that_is_settled_or_of_one_answer_is_not_compared(
    rule: str, num_samples: int, reason: StopReason
) -> None:
    engine = Judged(picking(41), answers=[41] * 8)
    stop = StopConfig(num_samples=num_samples, rule=rule)
    (solution,) = run(engine, config=dataclasses.replace(SELECTING, width=1, stop=stop))
    assert (solution.answer, solution.reason, engine.num_comparisons) == (41, reason, 0)


def test_a_contested_vote_that_its_rule_finds_enough_is_not_compared() -> None:
    engine = Judged(picking(42), answers=[42, 41, 41, 41])
    stop = StopConfig(num_samples=8, rule="votes(3)")
    (solution,) = run(engine, config=dataclasses.replace(SELECTING, width=1, stop=stop))
    assert (solution.answer, solution.votes, engine.num_comparisons) == (41, ((41, 3), (42, 1)), 0)


@pytest.mark.parametrize("text", ["\\boxed{Solution 1}", "", "\\boxed{43}"])
def test_picks_that_show_no_eye_for_content_leave_the_votes_to_decide(text: str) -> None:
    engine = Judged(lambda prompt: Script(text=text))
    (solution,) = run(engine, config=SELECTING)
    assert (solution.answer, solution.votes, engine.num_comparisons) == (41, ((41, 5), (42, 3)), 8)


def test_when_the_time_is_up_nothing_is_compared() -> None:
    engine = Judged(picking(42), seconds=10_000)
    config = dataclasses.replace(SELECTING, stop=StopConfig(num_samples=16, rule="votes(8)"))
    (solution,) = run(engine, config=config, budget=BudgetConfig(limit_s=1000, reserve_s=100, num_problems=1))
    assert (solution.answer, solution.reason) == (41, StopReason.OUT_OF_TIME)
    assert (solution.votes, engine.num_comparisons) == (((41, 5), (42, 3)), 0)
    assert solution.seconds == pytest.approx(900)


def test_comparisons_end_with_the_problems_time() -> None:
    engine = Judged(lambda prompt: Script(fault=Fault.HANG))
    (solution,) = run(engine, config=SELECTING, budget=BudgetConfig(limit_s=1000, reserve_s=100, num_problems=1))
    assert (solution.answer, solution.seconds) == (41, 900)
    assert (engine.num_comparisons, engine.num_running) == (8, 0)


class Untyped(Judged):
    """Hands comparisons back without a text, which nothing expects."""

    async def sample(
        self, prompt: Prompt, params: SamplingParams, *, timeout_s: float, on_chunk: OnChunk | None = None
    ) -> Sample:
        sample = await super().sample(prompt, params, timeout_s=timeout_s, on_chunk=on_chunk)
        return dataclasses.replace(sample, text=None) if is_comparison(prompt) else sample  # type: ignore[arg-type]


def test_a_comparison_that_is_no_sample_costs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    (solution,) = run(Untyped(picking(42)), config=SELECTING)
    assert (solution.answer, solution.votes, solution.guess) == (41, ((41, 5), (42, 3)), "")
    assert "a comparison failed" in caplog.text


def test_the_same_run_compares_with_the_same_seeds_which_are_no_attempts_own() -> None:
    def seeds() -> tuple[set[int], set[int]]:
        run(engine := Judged(picking(42)), config=SELECTING)
        compared = {call.params.seed for call in engine.calls if is_comparison(call.prompt)}
        return compared, {call.params.seed for call in engine.calls} - compared

    assert seeds() == seeds()
    assert tuple(map(len, seeds())) == (8, 8)


def num_alive(*kinds: type) -> list[int]:
    gc.collect()
    return [sum(type(each) is kind for each in gc.get_objects()) for kind in kinds]


def test_after_hundreds_of_problems_one_ballot_is_held_and_nothing_else() -> None:
    async def competition() -> list[int]:
        engine = ScriptedEngine(lambda prompt, params: Script(text=boxed(params.seed % 3), seconds=1 + params.seed % 7))
        budget = Budget(BudgetConfig(num_problems=300), trio.current_time)
        solver = Solver(engine, budget, None, SolverConfig(stop=RULE, width=4))
        before = num_alive(VoteState, AttemptLoop, Sample)
        for number in range(300):
            solution = await solver.solve(Problem(f"p{number}", f"What is ${number}$?"))
            assert solution.votes
        after = num_alive(VoteState, AttemptLoop, Sample)
        assert solver.num_done == 300  # and so it is alive
        return [late - early for late, early in zip(after, before, strict=True)]

    assert trio.run(competition, clock=trio.testing.MockClock(autojump_threshold=0)) == [1, 0, 0]


def interrupted(engine: ScriptedEngine, asked: Problem, *, after_s: float) -> Solution:
    """The best answer to `asked` while PROBLEM is being solved, `after_s` seconds after it was begun."""

    async def main() -> Solution:
        solver = Solver(engine, Budget(BudgetConfig(), trio.current_time), None, SolverConfig(stop=RULE, width=4))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(solver.solve, PROBLEM)
            await trio.sleep(after_s)
            solution = solver.best_so_far(asked, StopReason.INTERRUPTED, seconds=after_s)
            nursery.cancel_scope.cancel()
        return solution

    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_the_best_so_far_is_that_of_the_attempts_that_have_ended() -> None:
    engine = in_turn(Script(text=boxed(5), seconds=10), Script(text=boxed(6), seconds=1000))
    solution = interrupted(engine, PROBLEM, after_s=12)
    assert (solution.answer, solution.votes, solution.guess) == (5, ((5, 1),), "")
    assert (solution.reason, solution.seconds) == (StopReason.INTERRUPTED, 12)
    early = interrupted(always(Script(text=boxed(5), seconds=10)), PROBLEM, after_s=1)
    assert (early.answer, early.guess) == (0, "no sample ended (interrupted, 0 failed)")


@pytest.mark.parametrize("foreign", [Problem("p2", PROBLEM.text), Problem("p1", "What is $2+2$?")])
def test_the_best_so_far_of_a_foreign_problem_is_a_blind_guess(foreign: Problem) -> None:
    engine = in_turn(Script(text=boxed(5), seconds=10), Script(text=boxed(6), seconds=1000))
    solution = interrupted(engine, foreign, after_s=12)
    assert (solution.problem_id, solution.answer, solution.votes) == (foreign.id, 0, ())
    assert solution.guess == "sampling never began"


@pytest.mark.parametrize("change", [{"width": 0}, {"retry_s": -1}, {"grace_s": float("nan")}])
def test_refuses_settings_that_make_no_sense(change: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(change))):
        SolverConfig(**change)  # type: ignore[arg-type]


def test_the_prompt_is_the_problem_then_the_instruction() -> None:
    (message,) = build_prompt(PROBLEM).messages
    assert message.role == "user"
    assert message.content == (
        "What is $1+1$?\nPlease reason step by step, and put your final answer within \\boxed{}."
    )
