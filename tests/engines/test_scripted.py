from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from kit.engines.scripted import Fault, Outcome, Script, ScriptedEngine
from kit.errors import EngineError, InputError
from kit.sampling import FinishReason, Message, Prompt, Sample, SamplingParams, TokenStats, ToolCall
from tests.engines.contract import EngineContract, Subject

PROMPT = Prompt((Message("system", "Answer."), Message("user", "What is 1 + 1?")))


def run(script: Script, *, timeout_s: float = 1e6, **params: Any) -> Sample:
    async def main() -> Sample:
        engine = ScriptedEngine(lambda _prompt, _params: script)
        return await engine.sample(PROMPT, SamplingParams(**params), timeout_s=timeout_s)

    return trio.run(main, clock=MockClock(autojump_threshold=0))


class TestContract(EngineContract):
    @pytest.fixture
    def anyio_backend(self) -> Any:
        return "trio", {"clock": MockClock(autojump_threshold=0)}

    @pytest.fixture
    def subject(self) -> Subject:
        def write(prompt: Prompt, params: SamplingParams) -> Script:
            if "bad" in (prompt.text or prompt.messages[-1].content):
                return Script(fault=Fault.ERROR)
            token_stats = (TokenStats(logprob=-1.0, entropy=2.0),) * 10**6
            return Script(
                text=f"word {params.seed} " * 10**6,
                seconds=10_000,
                num_tokens=10**6,
                num_chunks=10**6,
                token_stats=token_stats,
            )

        bad = Prompt((Message("user", "bad"),))
        return Subject(engine=ScriptedEngine(write), prompt=PROMPT, bad_prompt=bad, num_slots=4)


def test_five_hours_pass_in_an_instant_of_real_time() -> None:
    sample = run(Script(text="done", seconds=5 * 3600))
    assert sample.seconds == pytest.approx(5 * 3600)


def test_a_deadline_keeps_the_share_of_text_and_tokens_that_fits() -> None:
    sample = run(Script(text="0123456789", seconds=20, num_tokens=1000), timeout_s=8)
    assert (sample.text, sample.num_tokens, sample.finish) == ("0123", 400, FinishReason.DEADLINE)
    assert sample.seconds == pytest.approx(8)


def test_max_new_tokens_cuts_text_and_time() -> None:
    sample = run(Script(text="0123456789", seconds=20, num_tokens=1000), max_new_tokens=250)
    assert (sample.num_tokens, sample.finish) == (250, FinishReason.LENGTH)
    assert sample.seconds == pytest.approx(5)


def test_an_attempt_that_just_fits_is_whole() -> None:
    sample = run(Script(text="whole", seconds=3), timeout_s=3)
    assert (sample.text, sample.finish) == ("whole", FinishReason.STOP)


def test_a_stop_text_ends_the_script_with_the_share_of_time_it_takes() -> None:
    sample = run(Script(text="0123456789", seconds=20, num_tokens=1000), stop=("34", "7"))
    assert (sample.text, sample.num_tokens, sample.finish) == ("01234", 500, FinishReason.STOP)
    assert sample.seconds == pytest.approx(10)


def test_a_limit_before_the_stop_text_ends_the_script() -> None:
    script = Script(text="0123456789", seconds=20, num_tokens=1000)
    assert run(script, stop=("34",), max_new_tokens=400).finish is FinishReason.LENGTH
    assert run(script, stop=("34",), timeout_s=8).finish is FinishReason.DEADLINE


def test_a_script_calls_tools_only_if_it_is_said_to_its_end() -> None:
    call = ToolCall(id="call_0", name="python", arguments="{}")
    script = Script(text="0123456789", tool_calls=(call,))
    assert run(script).tool_calls == (call,)
    assert run(script, stop=("4",)).tool_calls == ()


def test_confidence_is_passed_on() -> None:
    sample = run(Script(text="sure", mean_logprob=-0.1, mean_entropy=0.2))
    assert (sample.mean_logprob, sample.mean_entropy) == (-0.1, 0.2)


def test_a_late_attempt_ignores_its_timeout() -> None:
    sample = run(Script(text="late", seconds=50, fault=Fault.LATE), timeout_s=1)
    assert (sample.text, sample.finish) == ("late", FinishReason.STOP)
    assert sample.seconds == pytest.approx(50)


def test_a_failing_attempt_returns_its_error() -> None:
    sample = run(Script(text="so far", fault=Fault.FAILED))
    assert sample.finish is FinishReason.FAILED
    assert sample.error


def test_a_breaking_attempt_raises_unless_its_time_ran_out_before() -> None:
    with pytest.raises(EngineError):
        run(Script(seconds=5, fault=Fault.ERROR))
    assert run(Script(seconds=5, fault=Fault.ERROR), timeout_s=2).finish is FinishReason.DEADLINE


def test_a_hanging_attempt_outlives_its_timeout_and_can_be_cancelled() -> None:
    engine = ScriptedEngine(lambda _prompt, _params: Script(fault=Fault.HANG))

    async def main() -> None:
        with trio.move_on_after(1000) as scope:
            await engine.sample(PROMPT, SamplingParams(), timeout_s=1)
        assert scope.cancelled_caught

    trio.run(main, clock=MockClock(autojump_threshold=0))
    assert engine.num_cancelled == 1


def test_calls_are_recorded_with_how_they_ended() -> None:
    faults = {0: Fault.NONE, 1: Fault.ERROR, 2: Fault.HANG}
    engine = ScriptedEngine(lambda _prompt, params: Script(seconds=2, fault=faults[params.seed]))

    async def attempt(seed: int) -> None:
        try:
            await engine.sample(PROMPT, SamplingParams(seed=seed), timeout_s=9)
        except EngineError:
            return

    async def main() -> None:
        with trio.move_on_after(10):
            async with trio.open_nursery() as tasks:
                for seed in faults:
                    tasks.start_soon(attempt, seed)
                await trio.sleep(1)
                assert engine.num_running == 3

    trio.run(main, clock=MockClock(autojump_threshold=0))
    outcomes = {call.params.seed: call.outcome for call in engine.calls}
    assert outcomes == {0: Outcome.RETURNED, 1: Outcome.RAISED, 2: Outcome.CANCELLED}
    assert engine.num_running == 0
    ends_s = {call.params.seed: call.ended_s - call.begun_s for call in engine.calls if call.ended_s is not None}
    assert ends_s == pytest.approx({0: 2, 1: 2, 2: 10})


def test_scripts_are_found_by_their_problem_and_taken_in_turn_by_seed() -> None:
    engine = ScriptedEngine.from_scripts({"1 + 1": [Script(text="two"), Script(text="three")], "x": [Script()]})

    async def text(seed: int) -> str:
        return (await engine.sample(PROMPT, SamplingParams(seed=seed), timeout_s=9)).text

    async def main() -> list[str]:
        return [await text(seed) for seed in (0, 1, 2)]

    assert trio.run(main, clock=MockClock(autojump_threshold=0)) == ["two", "three", "two"]


def test_a_prompt_without_script_is_the_users_fault() -> None:
    engine = ScriptedEngine.from_scripts({"x": [Script()]})

    async def main() -> None:
        with pytest.raises(InputError, match="expected one of"):
            await engine.sample(PROMPT, SamplingParams(), timeout_s=9)

    trio.run(main, clock=MockClock(autojump_threshold=0))


def test_an_impossible_script_is_refused() -> None:
    with pytest.raises(InputError, match="num_tokens must be >= 1"):
        Script(num_tokens=0)


def test_scripts_are_found_by_a_raw_text_too() -> None:
    engine = ScriptedEngine.from_scripts({"2+2": [Script(text="4")]})

    async def main() -> Sample:
        return await engine.sample(Prompt.raw("Question: 2+2?\nAnswer:"), SamplingParams(), timeout_s=9)

    assert trio.run(main, clock=MockClock(autojump_threshold=0)).text == "4"
