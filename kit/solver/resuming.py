"""What an earlier process left of a problem: its samples, counted into votes again, and the answer they led to.

In: a journal as it was opened. Out: a VoteState, filled, or a Solution. Each text is read anew; a record that was
tampered with is logged and costs itself.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import trio

from kit.problem import Problem
from kit.sampling import FinishReason
from kit.solver.config import SolverConfig
from kit.solver.journal import Journal, Record
from kit.solver.reading import TextReader
from kit.solver.records import sample_of, solution_of
from kit.solver.solution import Solution
from kit.solver.stopping import StopReason
from kit.solver.vote_state import VoteState

log = logging.getLogger(__name__)

_NOT_FINAL = {StopReason.INTERRUPTED, StopReason.ENGINE_FAILED}
"""Reasons for which the votes were not asked whether they are enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What a journal held when it was opened. journal: None for a run that keeps none."""

    journal: Journal | None
    config: SolverConfig

    async def count_into(self, vote_state: VoteState, reader: TextReader) -> None:
        """Count a problem's samples, letting the loop come round after each."""
        for record in self._uncounted(vote_state):
            with contained(f"{vote_state.problem.id}, resuming"):
                number, sample = record["number"], sample_of(record)
                parsed = await reader.read(vote_state, number, sample)
                vote_state.resume(number, sample, parsed, weight=record.get("weight"))
            await trio.lowlevel.checkpoint()

    def answer(self, problem: Problem, reason: StopReason, *, seconds: float) -> Solution | None:
        """What the samples lead to, without a loop and an engine; None where no sample says anything.

        A text of any length is read in this thread.
        """
        vote_state = VoteState(problem, self.config.voting)
        for record in self._uncounted(vote_state):
            with contained(f"{problem.id}, resuming"):
                vote_state.resume(record["number"], sample_of(record), weight=record.get("weight"))
        if (settled := self.solution(vote_state)) is not None:
            return settled
        return vote_state.solution(reason, seconds=seconds) if vote_state.num_ended else None

    def solution(self, vote_state: VoteState) -> Solution | None:
        """What an earlier process answered. A guess is not final, nor what was answered since something broke.

        Only an answer that the journal's own samples, resumed, lead to: they must vote for it, most of all unless
        a selection may have preferred another of theirs. Any other is solved again, from those samples.
        """
        problem = vote_state.problem
        for record in self._records("solution", problem):
            with contained(f"{problem.id}, resuming"):
                if record["guess"] or record["reason"] in _NOT_FINAL:
                    continue
                solution = solution_of(record)
                votes = vote_state.solution(solution.reason, seconds=solution.seconds).votes
                backed = [answer for answer, _ in votes]
                if solution.answer in (backed if self.config.selection.num_rounds else backed[:1]):
                    return solution
                log.warning("%s: the journal answers %d, its samples do not; solved again", problem.id, solution.answer)
        return None

    def _uncounted(self, vote_state: VoteState) -> Iterator[Record]:
        """A problem's samples, until the votes are enough where it is their order that counts."""
        for record in self._samples(vote_state.problem):
            if self.config.in_order and vote_state.verdict(self.config.stop) is not None:
                break  # what had ended ahead of its turn
            yield record

    def _samples(self, problem: Problem) -> Iterator[Record]:
        """What an earlier process drew; with `in_order` only up to the first gap, which has to be counted first."""
        past = self._records("sample", problem)
        if not self.config.in_order:
            yield from past
            return
        # By number: one that lay behind a gap was drawn again by the process that filled it.
        whole = {
            record["number"]: record
            for record in past
            if record.get("finish") != FinishReason.FAILED and type(record.get("number")) is int
        }
        numbers = itertools.takewhile(whole.__contains__, itertools.count())
        yield from (whole[number] for number in numbers)

    def _records(self, kind: str, problem: Problem) -> Iterator[Record]:
        return iter(()) if self.journal is None else self.journal.past(kind, problem.key)


@contextmanager
def contained(what: str) -> Iterator[None]:
    """What may not cost the votes that there are: a record that was tampered with, a bug of ours in an extra."""
    try:
        yield
    except Exception:
        log.exception("%s: not counted", what)
