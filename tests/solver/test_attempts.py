"""The attempts at one problem on trio's autojump clock: who is drawn, counted, cut and replaced, and when."""

from __future__ import annotations

import dataclasses
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random

import pytest
import trio
import trio.testing

from kit.budget import Budget, BudgetConfig
from kit.engines.scripted import Fault, Outcome, Script, ScriptedEngine
from kit.problem import Problem
from kit.prompting import build_prompt
from kit.sampling import Engine, FinishReason, OnChunk, Prompt, Sample, SamplingParams, TokenStats
from kit.solver.attempts import AttemptLoop
from kit.solver.config import SolverConfig, attempt_seed
from kit.solver.journal import Journal, Record, read_records
from kit.solver.pacing import Pacer, PacingConfig, Progress
from kit.solver.reading import LARGE_CHARS
from kit.solver.solution import Solution
from kit.solver.solver import Solver
from kit.solver.stopping import StopConfig, StopReason
from kit.solver.vote_state import ParsedAnswer, VoteState
from kit.voting.early_abort import EarlyAbortConfig
from kit.voting.learned import Shape

PROBLEM = Problem("p1", "What is $1+1$?")
UNPACED = PacingConfig(kind="off")
ALL_OF_8 = SolverConfig(stop=StopConfig(num_samples=8, rule="votes(8)"), pacing=UNPACED, width=4)


def boxed(answer: object) -> str:
    return f"So the answer is \\boxed{{{answer}}}."


def by_number(scripts: Callable[[int], Script]) -> Callable[[Prompt, SamplingParams], Script]:
    numbers = {attempt_seed(0, PROBLEM, number): number for number in range(200)}
    return lambda prompt, params: scripts(numbers[params.seed])


def numbered(scripts: Callable[[int], Script]) -> ScriptedEngine:
    """Plays a script for each attempt's number, whenever it is drawn."""
    return ScriptedEngine(by_number(scripts))


def played(*scripts: Script) -> ScriptedEngine:
    """Plays scripts by number, the last one for all that follow."""
    return numbered(lambda number: scripts[min(number, len(scripts) - 1)])


@dataclasses.dataclass
class Ended:
    vote_state: VoteState
    records: list[Record]
    seconds: float
    num_ended: int
    running_s: float

    def of(self, kind: str) -> list[Record]:
        return [record for record in self.records if record["kind"] == kind]


def run(
    engine: Engine,
    config: SolverConfig = ALL_OF_8,
    *,
    deadline_s: float = 1e6,
    share_s: float = 1e6,
    pacer: Pacer | None = None,
) -> Ended:
    """One problem that begins at 0 on the loop's clock and at 100 on the competition's."""

    async def main() -> Ended:
        start = trio.current_time()
        vote_state = VoteState(PROBLEM, config.voting)
        records: list[Record] = []
        attempt_loop = AttemptLoop(
            engine=engine,
            config=config,
            vote_state=vote_state,
            prompt=build_prompt(PROBLEM),
            deadline=start + deadline_s,
            clock=lambda: trio.current_time() - start + 100,
            share_s=lambda: share_s,
            pacer=pacer or Pacer(config.pacing),
            write=records.append,
        )
        with trio.CancelScope(deadline=start + deadline_s + config.grace_s):
            await attempt_loop.run()
        return Ended(vote_state, records, trio.current_time() - start, attempt_loop.num_ended, attempt_loop.running_s())

    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


# ----------------------------------------------------------------------------------- slots and journal


def test_every_freed_slot_is_refilled_until_enough_are_drawn() -> None:
    engine = numbered(lambda number: Script(text=boxed(number), seconds=10 + number))
    ended = run(engine)
    in_flight = [
        sum(other.begun_s <= call.begun_s < (other.ended_s or 0) for other in engine.calls) for call in engine.calls
    ]
    assert in_flight == [4] * 8
    assert (ended.vote_state.num_ended, ended.num_ended) == (8, 8)
    assert ended.running_s == sum(10 + number for number in range(8))


def test_every_attempt_is_journalled_with_when_it_began_and_ended() -> None:
    ended = run(numbered(lambda number: Script(text=boxed(number), seconds=4 if number else 3)))
    times = {record["number"]: (record["begun_s"], record["ended_s"]) for record in ended.of("sample")}
    assert len(ended.records) == 8
    assert times == {
        0: (100, 103), 1: (100, 104), 2: (100, 104), 3: (100, 104),
        4: (103, 107), 5: (104, 108), 6: (104, 108), 7: (104, 108),
    }  # fmt: skip


def test_an_attempt_that_the_verdict_cuts_is_journalled_as_cut() -> None:
    quick = Script(text=boxed(2), seconds=10)
    config = dataclasses.replace(ALL_OF_8, stop=StopConfig(num_samples=8, rule="votes(2)"))
    ended = run(played(quick, quick, Script(seconds=1000)), config)
    assert ended.seconds == 10
    assert ended.vote_state.verdict(config.stop) is StopReason.CONFIDENT
    assert sorted((each["number"], each["begun_s"], each["ended_s"]) for each in ended.of("cancelled")) == [
        (2, 100, 110), (3, 100, 110), (4, 110, 110),
    ]  # fmt: skip
    assert ended.num_ended == 2
    assert ended.running_s == 40


def test_attempts_that_the_hard_limit_cuts_are_journalled_as_cut() -> None:
    ended = run(played(Script(fault=Fault.HANG)), deadline_s=50)
    assert {(each["number"], each["begun_s"], each["ended_s"]) for each in ended.of("cancelled")} == {
        (number, 100, 155) for number in range(4)
    }
    assert len(ended.records) == 4


def long(number: int) -> Script:
    return Script(text=boxed(number) + " " * 1000, seconds=1000, num_tokens=1000)


def test_samples_that_end_at_the_very_deadline_all_count() -> None:
    """Also where a vote has long ceased to be worth its time: what ends now costs nothing more."""
    config = dataclasses.replace(ALL_OF_8, pacing=PacingConfig(review_s=1e5), width=8)
    ended = run(numbered(long), config, deadline_s=50, share_s=0.1)
    assert [record.get("finish") for record in ended.records] == [FinishReason.DEADLINE] * 8
    assert {vote.answer for vote in ended.vote_state.votes} == set(range(8))
    assert ended.seconds == 50


class Early(ScriptedEngine):
    """Ends attempts a moment before their time, as one does that looks at the clock between two tokens."""

    async def sample(
        self, prompt: Prompt, params: SamplingParams, *, timeout_s: float, on_chunk: OnChunk | None = None
    ) -> Sample:
        early_s = max(0.0, timeout_s - 0.1 - params.seed % 7 / 100)
        return await super().sample(prompt, params, timeout_s=early_s, on_chunk=on_chunk)


def test_an_attempt_that_ended_for_want_of_time_frees_no_slot() -> None:
    """Bug of an earlier version: a slot whose attempt ended just before the time drew others of a moment's length."""
    engine = Early(by_number(long))
    ended = run(engine, deadline_s=50)
    assert len(engine.calls) == ended.vote_state.num_ended == len(ended.vote_state.votes) == 4


def test_samples_that_end_a_moment_before_the_deadline_all_count() -> None:
    """Bug of an earlier version: the first of them was found not worth its time, and cancelled the others."""
    config = dataclasses.replace(ALL_OF_8, pacing=PacingConfig(review_s=0.01), width=8)
    ended = run(Early(by_number(long)), config, deadline_s=50, share_s=0.1)
    assert len(ended.vote_state.votes) == 8


@pytest.mark.parametrize("fault", [Fault.NONE, Fault.ERROR])
def test_a_slot_that_is_free_when_the_time_is_up_draws_no_more(fault: Fault) -> None:
    engine = numbered(lambda number: Script(text=boxed(number), seconds=10, fault=fault))
    ended = run(engine, dataclasses.replace(ALL_OF_8, width=2, retry_s=0), deadline_s=20)
    assert [call.begun_s for call in engine.calls] == [0, 0, 10, 10]
    assert (ended.seconds, len(ended.records)) == (20, 4)


def test_slots_that_are_refilled_at_odd_times_draw_nothing_after_the_deadline() -> None:
    engine = numbered(lambda number: Script(text=boxed(number) + " " * 500, seconds=0.1 + 1 / (3 + number)))
    config = dataclasses.replace(ALL_OF_8, stop=StopConfig(num_samples=64, rule="votes(64)"), width=7)
    for deadline_s in (0.7, 1.0, 1.1, 1 / 3):
        engine.calls.clear()
        ended = run(engine, config, deadline_s=deadline_s)
        assert all(call.timeout_s > 1e-9 for call in engine.calls)
        assert len(ended.of("sample")) == len(engine.calls)
        assert ended.seconds <= deadline_s + 1e-6


# ------------------------------------------------------------------------------------------- what pays


def asked(pacer: Pacer, *, at_s: float, num_running: int) -> bool:
    """Whether a problem whose first two attempts agreed at 10 s, the others running on, is worth more at `at_s`."""
    now = Progress(
        shape=Shape((2,)),
        num_left=14,
        num_running=num_running,
        num_ended=2,
        running_s=20 + (num_running - 2) * at_s + 2 * (at_s - 10),
        share_s=SHARE_S,
    )
    return pacer.is_worth_more(now)


SHARE_S = 250.0


def test_a_review_ends_attempts_that_drag_on_as_soon_as_they_are_not_worth_their_time() -> None:
    config = SolverConfig(stop=StopConfig(num_samples=16, rule="votes(16)"), pacing=PacingConfig(review_s=7), width=8)
    pacer = Pacer(config.pacing)
    pacer.note(num_ended=100, running_s=100 * 100.0)
    quick = Script(text=boxed(2), seconds=10)
    engine = played(quick, quick, Script(seconds=1e5))
    ended = run(engine, config, share_s=SHARE_S, pacer=pacer)
    reviews = [7.0 * count for count in range(2, 1000)]
    expected = next(at_s for at_s in reviews if not asked(pacer, at_s=at_s, num_running=8))
    assert asked(pacer, at_s=10, num_running=8)
    assert expected > 14  # so it was not the attempts' end that did it
    assert ended.seconds == expected
    assert ended.vote_state.verdict(config.stop) is StopReason.NOT_WORTH
    assert len(ended.of("cancelled")) == 8
    assert (engine.num_running, engine.num_cancelled) == (0, 8)


def test_nothing_is_given_up_before_an_attempt_has_ended() -> None:
    config = SolverConfig(pacing=PacingConfig(price=1e9, review_s=1), width=8)
    ended = run(played(Script(text=boxed(2), seconds=200)), config, share_s=0.0)
    assert ended.seconds == 200
    assert ended.vote_state.verdict(config.stop) is StopReason.NOT_WORTH
    assert ended.vote_state.votes


# -------------------------------------------------------------------------------------------- in order


def in_order(**changes: object) -> SolverConfig:
    stop = StopConfig(num_samples=12, rule="votes(3)")
    return SolverConfig(**{"stop": stop, "width": 4, "in_order": True, **changes})  # type: ignore[arg-type]


def shuffled(timing: int, *, failing: Iterable[int] = ()) -> ScriptedEngine:
    """Attempts whose texts are those of their numbers, and whose durations are this timing's."""
    random = Random(timing)
    broken = set(failing)

    def write(number: int) -> Script:
        fault = Fault.ERROR if number in broken else Fault.NONE
        answer = Random(f"answer {number}").randrange(5)
        return Script(text=boxed(answer), seconds=random.uniform(1, 500), num_tokens=50 + number, fault=fault)

    return numbered(write)


def solve(engine: Engine, config: SolverConfig, *, journal: Journal | None = None) -> Solution:
    async def main() -> Solution:
        start = trio.current_time()
        budget = Budget(BudgetConfig(limit_s=1e5), lambda: trio.current_time() - start)
        return await Solver(engine, budget, journal, config).solve(PROBLEM)

    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def untimed(solution: Solution) -> Solution:
    return dataclasses.replace(solution, seconds=0.0)


@pytest.mark.parametrize("failing", [(), (0, 5), (1, 2, 3, 4)])
def test_in_order_equal_samples_give_one_solution_whatever_their_timing(failing: tuple[int, ...]) -> None:
    config = in_order()
    assert len({untimed(solve(shuffled(timing, failing=failing), config)) for timing in range(20)}) == 1


def test_not_in_order_the_timing_decides() -> None:
    """The control of the test above: these very attempts give several solutions."""
    config = in_order(in_order=False, pacing=UNPACED)
    assert len({untimed(solve(shuffled(timing), config)).answer for timing in range(20)}) > 1


def test_in_order_counts_the_first_attempts_by_number_up_to_the_verdict() -> None:
    answers = [Random(f"answer {number}").randrange(5) for number in range(12)]
    end = next(end for end in range(12) if max(Counter(answers[:end]).values(), default=0) == 3)
    solution = solve(shuffled(1), in_order())
    assert dict(solution.votes) == Counter(answers[:end])
    assert solution.num_samples == end


def resume(path: Path, lines: list[str], config: SolverConfig) -> Solution:
    path.write_text("".join(lines))
    with Journal.open(path, run={}) as journal:
        return solve(shuffled(100 + len(lines)), config, journal=journal)


def test_in_order_a_run_killed_anywhere_and_resumed_ends_like_an_unbroken_one(tmp_path: Path) -> None:
    """Bug of an earlier version: what had ended ahead of its turn was counted beyond the verdict when resumed."""
    config = in_order()
    for timing in range(4):
        with Journal.open(tmp_path / f"whole{timing}", run={}) as journal:
            unbroken = solve(shuffled(timing), config, journal=journal)
        lines = (tmp_path / f"whole{timing}").read_text().splitlines(keepends=True)
        assert len(lines) > 8
        for num_lines in range(1, len(lines)):
            resumed = resume(tmp_path / f"killed{timing}-{num_lines}", lines[:num_lines], config)
            assert (resumed.answer, resumed.votes) == (unbroken.answer, unbroken.votes)


def test_in_order_a_resumed_run_ends_as_soon_as_the_next_attempts_decide(tmp_path: Path) -> None:
    config = in_order(width=1)
    with Journal.open(tmp_path / "j", run={}) as journal:
        solve(numbered(lambda number: Script(text=boxed(7), seconds=5)), config, journal=journal)
    lines = (tmp_path / "j").read_text().splitlines(keepends=True)
    (tmp_path / "j").write_text("".join(lines[:3]))  # the head and two attempts
    engine = numbered(lambda number: Script(text=boxed(7), seconds=5 if number == 2 else 1000))
    with Journal.open(tmp_path / "j", run={}) as journal:
        resumed = solve(engine, in_order(width=4), journal=journal)
    assert (resumed.votes, resumed.seconds, resumed.reason) == (((7, 3),), 5, StopReason.CONFIDENT)


def test_in_order_a_run_killed_twice_draws_no_sample_of_its_beginning_again(tmp_path: Path) -> None:
    """Bug of an earlier version: a sample that was drawn twice, for a gap before it, hid those after it."""
    config = in_order(stop=StopConfig(num_samples=6, rule="votes(6)"))
    path = tmp_path / "j"
    with Journal.open(path, run={}) as journal:
        unbroken = solve(shuffled(3), config, journal=journal)
    head, *samples, _ = path.read_text().splitlines(keepends=True)
    by_number = dict(zip((record["number"] for record in list(read_records(path))[1:-1]), samples, strict=True))
    path.write_text("".join([head, *(by_number[number] for number in (0, 2, 3, 1, 2, 3, 4))]))
    engine = shuffled(4)
    with Journal.open(path, run={}) as journal:
        resumed = solve(engine, config, journal=journal)
    assert (resumed.answer, resumed.votes) == (unbroken.answer, unbroken.votes)
    assert [call.params.seed for call in engine.calls] == [attempt_seed(0, PROBLEM, 5)]


def test_in_order_a_resumed_run_draws_a_broken_attempt_again_before_it_counts_those_after_it(tmp_path: Path) -> None:
    def answering(number: int) -> Script:
        return Script(text=boxed(7 if number < 3 else 8), seconds=5, fault=faults.get(number, Fault.NONE))

    faults = {2: Fault.ERROR}
    config = in_order(width=1, retry_s=0)
    with Journal.open(tmp_path / "j", run={}) as journal:
        assert solve(numbered(answering), config, journal=journal).answer == 8
    lines = (tmp_path / "j").read_text().splitlines(keepends=True)
    (tmp_path / "j").write_text("".join(lines[:-1]))
    faults.clear()
    with Journal.open(tmp_path / "j", run={}) as journal:
        resumed = solve(numbered(answering), config, journal=journal)
    assert (resumed.answer, resumed.votes) == (7, ((7, 3),))


@pytest.mark.parametrize("width", [1, 2, 4, 16])
def test_in_order_broken_attempts_are_replaced_and_hold_nobody_up(width: int) -> None:
    config = in_order(stop=StopConfig(num_samples=6, rule="votes(6)"), width=width)
    engine = shuffled(5, failing=(0, 2, 5, 6))
    ended = run(engine, config)
    assert (ended.vote_state.num_ended, ended.num_ended, ended.vote_state.num_failed) == (6, 6, 4)
    assert ended.vote_state.verdict(config.stop) is StopReason.ALL_SAMPLED
    assert len(engine.calls) == 10


def test_in_order_what_waits_behind_a_hanging_attempt_counts_once_the_time_is_up() -> None:
    """Bug of an earlier version: all votes were lost to one attempt that never came back."""
    engine = played(Script(fault=Fault.HANG), Script(text=boxed(7), seconds=5))
    ended = run(engine, in_order(stop=StopConfig(num_samples=4, rule="votes(4)")), deadline_s=50)
    assert ended.vote_state.shape == Shape((3,))
    assert ended.vote_state.solution(StopReason.OUT_OF_TIME, seconds=0).answer == 7


# ----------------------------------------------------------------------------------------------- aborts_early


def confident(confidence: float, *, answer: int = 2, seconds: float = 10) -> Script:
    token = TokenStats(logprob=-0.1, entropy=0.1, confidence=confidence)
    return Script(text=boxed(answer), seconds=seconds, num_tokens=40, token_stats=(token,) * 40, num_chunks=20)


def one_weak(number: int) -> Script:
    return confident(12 if number == 2 else 15, answer=number)


KILLING = SolverConfig(
    stop=StopConfig(num_samples=8, rule="votes(8)"),
    pacing=UNPACED,
    width=2,
    aborts_early=True,
    early_abort=EarlyAbortConfig(warmup=2, window_tokens=4),
)


def test_a_weak_attempt_is_ended_without_a_vote_and_its_slot_refilled() -> None:
    ended = run(numbered(one_weak), KILLING)
    records = {record["number"]: record for record in ended.of("sample")}
    assert [records[number]["finish"] for number in range(8)] == ["stop", "stop", "aborted", *["stop"] * 5]
    assert (records[2]["answer"], records[2]["ended_s"] - records[2]["begun_s"]) == (None, 1.0)  # a window of 4 of 40
    assert records[4]["begun_s"] == records[2]["ended_s"]
    assert (len(ended.vote_state.votes), ended.vote_state.num_ended, ended.num_ended) == (7, 8, 8)


def test_without_kills_nothing_is_watched_and_nobody_is_ended() -> None:
    watchers: list[OnChunk | None] = []

    class Seen(ScriptedEngine):
        async def sample(
            self, prompt: Prompt, params: SamplingParams, *, timeout_s: float, on_chunk: OnChunk | None = None
        ) -> Sample:
            watchers.append(on_chunk)
            return await super().sample(prompt, params, timeout_s=timeout_s, on_chunk=on_chunk)

    ended = run(Seen(by_number(one_weak)), dataclasses.replace(KILLING, aborts_early=False))
    assert watchers == [None] * 8
    assert {record["finish"] for record in ended.records} == {"stop"}
    assert ended.vote_state.num_ended == len(ended.vote_state.votes) == 8


def test_broken_attempts_do_not_warm_the_threshold_up() -> None:
    broken = dataclasses.replace(confident(19), fault=Fault.FAILED)
    engine = played(broken, broken, broken, confident(12, answer=1), confident(12, answer=2), confident(11))
    config = dataclasses.replace(KILLING, stop=StopConfig(num_samples=3, rule="votes(3)"), width=1)
    ended = run(engine, config)
    assert [record["finish"] for record in ended.records] == ["failed"] * 3 + ["stop"] * 2 + ["aborted"]
    assert [call.outcome for call in engine.calls] == [Outcome.RETURNED] * 6


# ----------------------------------------------------------------------------------- large texts


class Reading(VoteState):
    """Tells in which thread it reads; a text that begins with X takes it long."""

    def read(self, sample: Sample) -> ParsedAnswer:
        readers[sample.text[:1]] = threading.current_thread()
        if sample.text.startswith("X"):
            release.wait(60)
        return super().read(sample)


readers: dict[str, threading.Thread] = {}
release = threading.Event()


def test_a_large_text_is_read_beside_the_loop_and_is_on_record_though_its_reading_is_cut() -> None:
    """Bug of an earlier version: the whole loop waited for it, every deadline with it."""
    large = "a" * LARGE_CHARS + boxed(2)
    texts = [boxed(2), large, "X" + large]
    records: list[Record] = []

    async def main() -> VoteState:  # on a real clock: a virtual one does not know of threads
        vote_state = Reading(PROBLEM)
        attempt_loop = AttemptLoop(
            engine=played(*(Script(text=text, seconds=0) for text in texts)),
            config=dataclasses.replace(ALL_OF_8, stop=StopConfig(num_samples=8, rule="votes(8)"), width=1),
            vote_state=vote_state,
            prompt=build_prompt(PROBLEM),
            deadline=trio.current_time() + 1000,
            clock=trio.current_time,
            share_s=lambda: 1000.0,
            pacer=Pacer(UNPACED),
            write=records.append,
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(attempt_loop.run)
            while "X" not in readers:
                await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
        return vote_state

    vote_state = trio.run(main)
    release.set()
    assert readers["S"] is threading.main_thread()
    assert readers["a"] is not threading.main_thread()
    assert [vote.answer for vote in vote_state.votes] == [2, 2]
    assert [(record["kind"], record["answer"]) for record in records] == [
        ("sample", 2),
        ("sample", 2),
        ("sample", None),
    ]
