"""The real vLLM: the engine contract, streaming, aborts, and its engine killed and stopped with attempts in flight.

Needs vLLM's environment (`make environment-vllm`) and half a minute for each start of
it, so one server serves the contract and then dies its deaths in order. What breaks a start, and what a cache that is
too small does, is in test_vllm_faults.py.
"""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import trio

from kit.budget import Budget, BudgetConfig
from kit.engines.vllm.client.endpoint import Address, FixedEndpoint
from kit.engines.vllm.client.engine import open_openai
from kit.engines.vllm.server.supervision import Break
from kit.errors import EngineError
from kit.problem import ANSWER_MAX, Problem
from kit.sampling import FinishReason, Sample, SamplingParams
from kit.solver.config import SamplingChoice, SolverConfig
from kit.solver.journal import Journal, Record, read_records
from kit.solver.solution import Solution
from kit.solver.solver import Solver
from kit.solver.stopping import StopConfig
from tests.engines import tiny
from tests.engines.contract import EngineContract, Subject
from tests.engines.vllm.portal import Portal, open_portal
from tests.engines.vllm.real import (
    HANG_S,
    LONG_CONTEXT,
    PROMPT,
    WITHOUT_WORKER,
    Real,
    check_struck,
    open_real,
    processes,
    save_endless_model,
    struck,
)

pytestmark = pytest.mark.slow

ENDLESS = SamplingParams(temperature=0, max_new_tokens=10**6)
TOO_LONG = tiny.chat("x" * LONG_CONTEXT)


@pytest.fixture(scope="module")
def portal() -> Iterator[Portal]:
    with open_portal() as portal:
        yield portal


@pytest.fixture(scope="module")
def real(vllm_python: Path, portal: Portal, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    folder = tmp_path_factory.mktemp("vllm")
    save_endless_model(folder / "model", max_position_embeddings=LONG_CONTEXT)
    with portal.holding(open_real(vllm_python, folder, WITHOUT_WORKER)) as made:
        yield made
    assert not processes()


@pytest.fixture(scope="module")
def address(portal: Portal, real: Real) -> Address:
    return portal.call(real.server.ready)


class TestContract(EngineContract):
    @pytest.fixture
    async def subject(self, address: Address) -> AsyncIterator[Subject]:
        async with open_openai(FixedEndpoint(address), tokenizer=tiny.tokenizer()) as engine:
            yield Subject(
                engine=engine,
                prompt=PROMPT,
                bad_prompt=TOO_LONG,
                num_slots=4,
                goes_on=True,
                patience_s=HANG_S,
            )


def test_a_turn_without_a_stop_text_has_statistics_for_each_token(portal: Portal, real: Real) -> None:
    sample = portal.call(real.sample, SamplingParams(temperature=0, max_new_tokens=12))
    assert (sample.num_tokens, len(sample.token_stats)) == (12, 12)
    for token in sample.token_stats:
        assert token.confidence is not None
        assert token.logprob <= 0 <= token.entropy
        assert token.confidence >= -token.logprob  # greedy: the chosen token is the likeliest of the twenty


def test_the_server_tells_of_its_cache(portal: Portal, real: Real) -> None:
    reading = portal.call(real.reading)
    assert reading.num_tokens >= LONG_CONTEXT
    assert 0 <= reading.usage < 1


def test_an_attempt_that_is_left_makes_no_more_tokens(portal: Portal, real: Real) -> None:
    async def act() -> int:
        before = await real.count("generation_tokens_total")
        with trio.move_on_after(0.5):
            await real.sample(ENDLESS)
        while await real.count("num_requests_running"):
            await trio.sleep(0.1)
        return await real.count("generation_tokens_total") - before

    assert portal.call(act) < LONG_CONTEXT // 2


def test_an_attempt_ends_where_the_context_does(portal: Portal, real: Real) -> None:
    """And begins where a single token is left of it."""

    async def act(num_left: int) -> Sample:
        num_around = len("user\n") + 3  # a token is a character, or one of the three that the template adds
        prompt = tiny.chat("x" * (LONG_CONTEXT - num_left - num_around))
        return await real.sample(ENDLESS, prompt=prompt)

    for num_left in (20, 1):
        sample = portal.call(act, num_left)
        assert (sample.finish, sample.num_tokens) == (FinishReason.LENGTH, num_left)


def test_what_the_server_refuses_is_told_and_harms_nobody(portal: Portal, address: Address, real: Real) -> None:
    """A client that does not know the context asks for more than there is."""

    async def act() -> tuple[Sample, str]:
        unknown = FixedEndpoint(Address(url=address.url, model=address.model))
        samples: list[Sample] = []
        async with open_openai(unknown, tokenizer=tiny.tokenizer()) as engine, trio.open_nursery() as nursery:

            async def other() -> None:
                samples.append(await real.sample(SamplingParams(temperature=0, max_new_tokens=200)))

            nursery.start_soon(other)
            with pytest.raises(EngineError) as caught:
                await engine.sample(PROMPT, ENDLESS, timeout_s=60)
        return samples[0], str(caught.value)

    sample, told = portal.call(act)
    assert f"max_model_len={LONG_CONTEXT}" in told
    assert (sample.finish, sample.num_tokens) == (FinishReason.LENGTH, 200)
    assert real.server.incidents == []


@pytest.mark.parametrize(
    ("part", "number", "kinds"),
    # which is seen first depends on how busy the machine is
    [
        ("EngineCore", signal.SIGKILL, {Break.EXITED, Break.MUTE, Break.HUNG}),
        ("EngineCore", signal.SIGSTOP, {Break.HUNG}),
        ("api_server", signal.SIGTERM, {Break.EXITED, Break.MUTE, Break.HUNG}),
    ],
    ids=["engine killed", "engine stopped", "server asked to end"],
)
def test_attempts_survive_their_server(
    portal: Portal, real: Real, part: str, number: signal.Signals, kinds: set[Break]
) -> None:
    made = portal.call(struck, real, part, number)
    check_struck(made)
    assert made.incident.kind in kinds


class Competition:
    """Problems put to the kit's solver over a server that is killed under it."""

    def __init__(self, real: Real, journal: Journal) -> None:
        self._real = real
        self._journal = journal

    def samples(self, problem: Problem) -> dict[int, Record]:
        """What the journal holds of it."""
        records = read_records(self._journal.path)
        return {
            each["number"]: each
            for each in records
            if each["kind"] == "sample" and each["problem"] == problem.key and each["finish"] == FinishReason.LENGTH
        }

    async def solve(self, problem: Problem, *, limit_s: float, num_samples: int) -> Solution:
        config = SolverConfig(
            width=3,
            stop=StopConfig(num_samples=num_samples, rule=f"votes({num_samples})"),
            sampling=SamplingChoice(max_new_tokens=400),
            in_order=True,
        )
        begun_s = trio.current_time()
        budget = Budget(
            BudgetConfig(limit_s=limit_s, reserve_s=0, num_problems=1), lambda: trio.current_time() - begun_s
        )
        solution = await Solver(self._real.engine, budget, self._journal, config).solve(problem)
        assert isinstance(solution.answer, int)
        assert 0 <= solution.answer <= ANSWER_MAX
        # past its time by the grace of the solver, and by what the machine takes
        assert trio.current_time() - begun_s < limit_s + config.grace_s + HANG_S / 2
        return solution

    async def solve_and_kill(
        self, problem: Problem, *, limit_s: float, num_samples: int
    ) -> tuple[Solution, dict[int, Record]]:
        """Kill the engine once two samples have ended and others are on their way; gives those that had."""
        before: dict[int, Record] = {}

        async def kill() -> None:
            while len(self.samples(problem)) < 2:
                await trio.sleep(0.02)
            before.update(self.samples(problem))
            os.kill(self._real.process("EngineCore").pid, signal.SIGKILL)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(kill)
            solution = await self.solve(problem, limit_s=limit_s, num_samples=num_samples)
            nursery.cancel_scope.cancel()
        assert len(before) >= 2
        return solution, before


@pytest.mark.long
def test_a_competition_goes_on_over_an_engine_that_is_killed(portal: Portal, real: Real, tmp_path: Path) -> None:
    """The random model writes no answers, so they are guessed, and guessed from samples that are all there."""

    async def act(journal: Journal) -> None:
        competition = Competition(real, journal)
        num_incidents = len(real.server.incidents)
        long, short, last = (Problem(id=name, text=f"what is {name}+1?") for name in "123")

        solution, before = await competition.solve_and_kill(long, limit_s=300, num_samples=9)
        after = competition.samples(long)
        assert {number: after[number] for number in before} == before
        assert sorted(after) == list(range(9))  # those under way were replayed, and none broke
        assert solution.num_samples == 9

        # the time is up before the server is back
        solution, before = await competition.solve_and_kill(short, limit_s=12, num_samples=1000)
        after = competition.samples(short)
        assert {number: after[number] for number in before} == before
        assert solution.num_samples >= len(after) >= 2

        solution = await competition.solve(last, limit_s=300, num_samples=3)
        assert solution.num_samples == len(competition.samples(last)) == 3
        assert len(real.server.incidents) >= num_incidents + 2

    with Journal.open(tmp_path / "journal.jsonl", run={"test": "competition"}) as journal:
        portal.call(act, journal)
