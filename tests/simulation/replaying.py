"""Calls of a ReplayEngine in virtual time, and a plain reference of how it shares its speed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import trio
import trio.testing

from kit.errors import EngineError
from kit.sampling import Message, Prompt, Sample, SamplingParams
from kit.simulation.engine import Fault, FaultKind, ReplayEngine, marked
from kit.simulation.recording import RecordedAttempt
from kit.simulation.speeds import linear


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of the engine. cancel_s: after so many seconds its caller cancels it."""

    work_s: float
    begin_s: float = 0.0
    timeout_s: float = math.inf
    cancel_s: float = math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a call ended. sample: None if it was cancelled or broke. share: of its work that was done."""

    at_s: float
    how: str
    share: float
    sample: Sample | None = None


NUM_TOKENS = 10**9  # of each attempt, so that the tokens of one that was cut tell its share to nine digits


def prompt_of(place: int) -> Prompt:
    return Prompt((Message("system", "Be brief."), Message("user", marked(place))))


def played(
    calls: Sequence[Call], *, faults: tuple[Fault, ...] = (), stream_cost: float = 0.2, start_s: float = 0.0
) -> tuple[list[Ended], ReplayEngine]:
    """Each call by a task of its own; times are since the start."""
    ended: dict[int, Ended] = {}

    async def main() -> ReplayEngine:
        zero = trio.current_time()
        attempts = [RecordedAttempt(answer=7, work_s=call.work_s, num_tokens=NUM_TOKENS) for call in calls]
        engine = ReplayEngine(
            lambda place: iter([attempts[place]]),
            lambda: trio.current_time() - zero + start_s,
            faults,
            linear(stream_cost),
        )
        async with engine.running(), trio.open_nursery() as nursery:
            for place, call in enumerate(calls):
                nursery.start_soon(one, engine, place, call)
        return engine

    async def one(engine: ReplayEngine, place: int, call: Call) -> None:
        await trio.sleep(call.begin_s)
        how, sample = "cancelled", None
        with trio.move_on_after(call.cancel_s):
            try:
                sample = await engine.sample(prompt_of(place), SamplingParams(seed=place), timeout_s=call.timeout_s)
                how = sample.finish.value
            except EngineError:
                how = "broken"
        share = sample.num_tokens / NUM_TOKENS if sample else math.nan
        ended[place] = Ended(at_s=trio.current_time(), how=how, share=share, sample=sample)

    engine = trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    return [ended[place] for place in range(len(calls))], engine


def reference(
    calls: Sequence[Call], *, faults: tuple[Fault, ...] = (), stream_cost: float = 0.2
) -> tuple[list[Ended], float]:
    """The same by going from one event to the next in plain steps; HANG and SLOW only.

    Returns also how near the nearest two rivalling ends of one call came, seconds: close to 0, either is right.
    """
    left = {place: call.work_s for place, call in enumerate(calls)}
    ends: dict[int, Ended] = {}
    now_s, nearest_s = 0.0, math.inf
    while len(ends) < len(calls):
        running = [place for place, call in enumerate(calls) if place not in ends and call.begin_s <= now_s]
        hang = next((f for f in faults if f.kind is FaultKind.HANG and f.begin_s <= now_s < f.end_s), None)
        slow = any(f.kind is FaultKind.SLOW and f.begin_s <= now_s < f.end_s for f in faults)
        step = (1 + stream_cost * (max(1, len(running)) - 1)) / (1 + stream_cost * 7)
        speed = 0.0 if hang else (0.1 if slow else 1.0) / step

        due: list[tuple[float, str, int]] = []
        for place in running:
            call = calls[place]
            timed_out_s = call.begin_s + call.timeout_s
            moments = {
                "stop": now_s + left[place] / speed if speed else math.inf,
                "deadline": max(timed_out_s, hang.end_s if hang and timed_out_s < hang.end_s else 0.0),
                "cancelled": call.begin_s + call.cancel_s,
            }
            first, second, _ = sorted(moments.values())
            nearest_s = min(nearest_s, second - first)
            due += [(moment, how, place) for how, moment in moments.items()]
        boundaries = [moment for f in faults for moment in (f.begin_s, f.end_s)] + [call.begin_s for call in calls]
        next_s = min([moment for moment, *_ in due] + [moment for moment in boundaries if moment > now_s])
        for place in running:
            left[place] -= (next_s - now_s) * speed
        now_s = next_s
        for moment, how, place in sorted(due):
            if moment <= now_s and place not in ends:
                ends[place] = Ended(at_s=now_s, how=how, share=1 - left[place] / calls[place].work_s)
    return [ends[place] for place in range(len(calls))], nearest_s
