from __future__ import annotations

import dataclasses
import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from kit.answers.extraction import extract
from kit.answers.normalisation import normalise
from kit.answers.rejection import Rejection
from kit.engines.scripted import Fault, Outcome, Script, ScriptedEngine
from kit.errors import EngineError, InputError
from kit.interpreter import Execution, ExecutionStatus, Interpreter
from kit.problem import Problem
from kit.prompting import VARIANTS, build_prompt
from kit.sampling import Chunk, FinishReason, Message, Prompt, Sample, SamplingParams, TokenStats, ToolCall
from kit.tools.chat import LAST_WORDS
from kit.tools.formats import LAST_QUESTION, Fenced, Native, Plain, ToolFormat
from kit.tools.reasoner import NO_CALLS_LEFT, NO_TIME_LEFT, ReasoningConfig, ToolReasoner
from kit.tools.trajectory import turn_seed
from tests.engines.contract import EngineContract, Subject

PROMPT = build_prompt(Problem("p", "What is 6 * 7?"))
CALL = "Let me compute.\n```python\nprint(6 * 7)\n```\n```output"
BOXED = "So it is \\boxed{42}."


# ------------------------------------------------------------------------------------------- doubles


@dataclass
class Bench:
    """Interpreters that play `run`, with a count of who has one. Times on trio's clock."""

    run: Callable[[str], Execution] = lambda code: Execution(output="42", status=ExecutionStatus.OK, seconds=0.1)
    seconds: float = 0.1  # that a piece of code takes, whatever its timeout; inf: it never answers
    lend_seconds: float = 0.0
    lends_late: bool = False  # whatever was waited for
    end_seconds: float = 0.0
    breaks: str = ""  # "lend", "run" or "end": where it raises
    error: type[Exception] = EngineError
    codes: list[str] = field(default_factory=list)
    timeouts_s: list[float] = field(default_factory=list)
    num_lent: int = 0
    num_back: int = 0

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[Interpreter]:
        with trio.CancelScope(shield=self.lends_late):
            await trio.sleep(self.lend_seconds)
        if self.breaks == "lend":
            raise self.error("no process could be started")
        self.num_lent += 1
        try:
            yield _Python(self)
        finally:
            self.num_back += 1
            await trio.sleep(self.end_seconds)
            if self.breaks == "end":
                raise self.error("it does not end")


@dataclass
class _Python:
    bench: Bench

    async def run(self, code: str, *, timeout_s: float) -> Execution:
        self.bench.codes.append(code)
        self.bench.timeouts_s.append(timeout_s)
        await trio.sleep(self.bench.seconds)
        if self.bench.breaks == "run":
            raise self.bench.error("the pipe is closed")
        return self.bench.run(code)


def playing(turns: Sequence[Script]) -> ScriptedEngine:
    """An engine that plays the turns in order, and its last one from there on."""
    engine: ScriptedEngine

    def write(prompt: Prompt, params: SamplingParams) -> Script:
        return turns[min(len(engine.calls), len(turns) - 1)]

    engine = ScriptedEngine(write)
    return engine


@dataclass
class Played:
    sample: Sample
    engine: ScriptedEngine
    bench: Bench
    seconds: float

    @property
    def answer(self) -> str | None:
        raw = extract(self.sample.text)
        return None if raw is None else raw.text

    @property
    def answer_of_last_call(self) -> int | Rejection | None:
        """The answer, where the sample's text ends with the last call's box."""
        is_its_box = LAST_WORDS in self.sample.text and self.sample.text.endswith("}")
        return normalise(self.answer) if is_its_box and self.answer else None

    @property
    def last_prompt(self) -> str:
        return self.engine.calls[-1].prompt.messages[-1].content


def play(
    *turns: str | Script,
    tool_format: ToolFormat | None = None,
    bench: Bench | None = None,
    prompt: Prompt = PROMPT,
    timeout_s: float = 1000.0,
    on_chunk: Callable[[Chunk], bool] | None = None,
    params: SamplingParams | None = None,
    **config: Any,
) -> Played:
    scripts = [turn if isinstance(turn, Script) else Script(text=turn, num_tokens=10) for turn in turns]
    engine, bench = playing(scripts), bench or Bench()

    async def main() -> Played:
        begun = trio.current_time()
        reasoner = ToolReasoner(
            engine=engine, tool_format=tool_format or Fenced(), interpreters=bench, config=ReasoningConfig(**config)
        )
        sample = await reasoner.sample(prompt, params or SamplingParams(seed=5), timeout_s=timeout_s, on_chunk=on_chunk)
        return Played(sample, engine, bench, trio.current_time() - begun)

    return trio.run(main, clock=MockClock(autojump_threshold=0))


def calling(*codes: str, text: str = "", name: str = "python", **more: Any) -> Script:
    calls = tuple(ToolCall(id=f"c{i}", name=name, arguments=code) for i, code in enumerate(codes))
    return Script(text=text, tool_calls=calls, num_tokens=10, **more)


def roles(prompt: Prompt) -> list[str]:
    return [message.role for message in prompt.messages]


# -------------------------------------------------------------------------------------- both formats


class TestContract(EngineContract):
    """Without a last call, a reasoner over an engine is as good as the engine."""

    @pytest.fixture
    def anyio_backend(self) -> Any:
        return "trio", {"clock": MockClock(autojump_threshold=0)}

    @pytest.fixture
    def subject(self) -> Subject:
        def write(prompt: Prompt, params: SamplingParams) -> Script:
            if prompt.messages and "bad" in prompt.messages[-1].content:
                return Script(fault=Fault.ERROR)
            token_stats = (TokenStats(logprob=-1.0, entropy=2.0),) * 10**6
            return Script(
                text=f"word {params.seed} " * 10**6,
                seconds=10_000,
                num_tokens=10**6,
                num_chunks=10**6,
                token_stats=token_stats,
            )

        config = ReasoningConfig(last_call_tokens=0, max_turn_tokens=10**9)
        reasoner = ToolReasoner(engine=ScriptedEngine(write), tool_format=Plain(), config=config)
        return Subject(engine=reasoner, prompt=PROMPT, bad_prompt=Prompt((Message("user", "bad"),)), num_slots=4)


def test_a_fenced_attempt_goes_from_code_over_its_output_to_the_answer() -> None:
    played = play(CALL, BOXED)
    first, second = played.engine.calls
    assert first.prompt == PROMPT
    assert roles(second.prompt) == ["user", "assistant"]
    assert second.prompt.messages[-1].content == f"{CALL}\n42\n```\n"
    assert first.params.stop == second.params.stop == ("```output",)
    sample = played.sample
    assert sample.text == f"{CALL}\n42\n```\n{BOXED}"
    assert (sample.finish, sample.num_tokens, sample.seed) == (FinishReason.STOP, 20, 5)
    assert (sample.num_calls, sample.num_failed_calls, sample.error) == (1, 0, "")
    assert played.bench.codes == ["print(6 * 7)"]
    assert sample.seconds == pytest.approx(2.1)


def test_a_native_attempt_goes_from_calls_over_their_outputs_to_the_answer() -> None:
    prompt = build_prompt(Problem("p", "What is 6 * 7?"), variant=VARIANTS["tools"])
    played = play(calling('{"code": "6 * 7"}', "7 * 6", text="Both ways."), BOXED, tool_format=Native(), prompt=prompt)
    second = played.engine.calls[1].prompt
    assert roles(second) == ["user", "assistant", "tool", "tool"]
    assert [message.call_id for message in second.messages[2:]] == ["c0", "c1"]
    assert second.tools == prompt.tools
    block = "```output\n42\n```\n"
    assert played.sample.text == (f"Both ways.\n```python\n6 * 7\n```\n\n```python\n7 * 6\n```\n{block}{block}{BOXED}")
    assert (played.sample.num_calls, played.sample.finish, played.answer) == (2, FinishReason.STOP, "42")
    assert (played.bench.num_lent, played.bench.num_back) == (1, 1)
    assert played.sample.tool_calls == ()


def test_plain_words_need_no_interpreters_and_are_passed_on_as_they_are() -> None:
    engine = playing([Script(text=BOXED, num_tokens=7, mean_logprob=-0.5)])

    async def main() -> Sample:
        return await ToolReasoner(engine=engine, tool_format=Plain()).sample(PROMPT, SamplingParams(), timeout_s=60)

    sample = trio.run(main, clock=MockClock(autojump_threshold=0))
    assert sample == Sample(text=BOXED, num_tokens=7, finish=FinishReason.STOP, seconds=1.0, seed=0, mean_logprob=-0.5)


@pytest.mark.parametrize("tool_format", [Fenced(), Native()])
def test_a_format_with_calls_needs_interpreters(tool_format: ToolFormat) -> None:
    with pytest.raises(InputError, match="give interpreters"):
        ToolReasoner(engine=playing([Script()]), tool_format=tool_format)


def test_an_attempt_without_calls_borrows_no_interpreter() -> None:
    assert play(BOXED).bench.num_lent == 0


def test_variables_live_on_as_all_calls_go_to_one_interpreter() -> None:
    played = play(CALL, CALL, CALL, BOXED)
    assert (played.bench.num_lent, played.bench.num_back, len(played.bench.codes)) == (1, 1, 3)
    assert played.sample.num_calls == 3


def test_what_the_prompt_began_for_the_model_is_gone_on_with_and_not_repeated() -> None:
    prompt = Prompt((*PROMPT.messages, Message("assistant", "First, ")))
    played = play(CALL, BOXED, prompt=prompt)
    assert played.last_prompt == f"First, {CALL}\n42\n```\n"
    assert played.sample.text == f"{CALL}\n42\n```\n{BOXED}"


# -------------------------------------------------------------------------------- what Python may do


def test_code_that_fails_is_told_to_the_model_and_counted() -> None:
    bench = Bench(run=lambda code: Execution(output="NameError: x", status=ExecutionStatus.ERROR, seconds=0.1))
    played = play(CALL, CALL, BOXED, bench=bench)
    assert "NameError: x" in played.last_prompt
    assert (played.sample.num_calls, played.sample.num_failed_calls, played.answer) == (2, 2, "42")
    assert bench.num_lent == 1  # the interpreter is none the worse for it


def test_a_box_in_the_output_or_in_the_code_is_no_answer() -> None:
    """Else the model's own answer would lose to whatever its program printed last."""
    bench = Bench(
        run=lambda code: Execution(output="\\boxed{7}\nThe answer is 7", status=ExecutionStatus.OK, seconds=0)
    )
    code = "```python\nprint(r'\\boxed{9}')\n```\n```output"
    assert play(f"It is \\boxed{{42}}. Check:\n{code}", "That prints a 7.", bench=bench).answer == "42"
    asked = play(code, "Done.", "42}", bench=bench)
    assert asked.last_prompt.endswith(LAST_WORDS)
    assert asked.answer == "42"


@pytest.mark.parametrize("seconds", [math.inf, 500.0])
def test_an_interpreter_that_never_answers_costs_its_time_and_is_replaced(seconds: float) -> None:
    played = play(CALL, CALL, BOXED, bench=Bench(seconds=seconds), call_timeout_s=6, grace_s=2)
    assert played.seconds == pytest.approx(3 * 1 + 2 * 8)
    assert played.bench.timeouts_s == [6, 6]
    assert (played.bench.num_lent, played.bench.num_back) == (2, 2)
    assert "variables are lost" in played.last_prompt
    assert (played.sample.num_failed_calls, played.answer) == (2, "42")


@pytest.mark.parametrize("error", [EngineError, OSError, lambda text: ExceptionGroup(text, [OSError(text)])])
def test_an_interpreter_that_breaks_is_told_and_replaced(error: Any) -> None:
    played = play(CALL, CALL, BOXED, bench=Bench(breaks="run", error=error))
    assert "the pipe is closed" in played.last_prompt
    assert (played.bench.num_lent, played.bench.num_back, played.answer) == (2, 2, "42")
    assert (played.sample.num_calls, played.sample.num_failed_calls) == (2, 2)


@pytest.mark.parametrize("error", [EngineError, OSError])
def test_without_an_interpreter_the_model_is_told_and_the_attempt_goes_on(error: type[Exception]) -> None:
    """Public kits counted such an attempt as lost (docs/peers.md#pool)."""
    played = play(CALL, BOXED, bench=Bench(breaks="lend", error=error))
    assert "[not run: no Python could be started: no process could be started]" in played.last_prompt
    assert (played.sample.num_calls, played.sample.num_failed_calls, played.answer) == (1, 1, "42")


def test_a_call_waits_for_a_free_interpreter_but_not_for_ever() -> None:
    waited = play(CALL, BOXED, bench=Bench(lend_seconds=29), lend_timeout_s=30)
    assert waited.sample.num_failed_calls == 0
    gave_up = play(CALL, BOXED, bench=Bench(lend_seconds=31), lend_timeout_s=30)
    assert "no Python was free in time" in gave_up.last_prompt
    assert gave_up.seconds == pytest.approx(2 + 30)
    assert gave_up.answer == "42"


def test_an_interpreter_that_comes_when_nobody_waits_for_it_any_more_goes_back() -> None:
    played = play(CALL, CALL, BOXED, bench=Bench(lend_seconds=31, lends_late=True), lend_timeout_s=30)
    assert (played.bench.num_lent, played.bench.num_back, played.bench.codes) == (2, 2, [])
    assert "no Python was free in time" in played.last_prompt
    assert played.answer == "42"


@pytest.mark.parametrize(
    "bench",
    [Bench(end_seconds=1e9), Bench(breaks="end"), Bench(breaks="end", error=OSError)],
    ids=["hangs", "breaks", "breaks by a bug"],
)
def test_an_interpreter_that_does_not_end_well_costs_no_attempt(bench: Bench) -> None:
    played = play(CALL, BOXED, bench=bench, grace_s=2)
    assert (played.answer, bench.num_back) == ("42", 1)
    assert played.seconds <= 2.1 + 2


def test_hanging_code_in_a_hanging_interpreter_ends_with_the_attempts_grace() -> None:
    bench = Bench(seconds=math.inf, end_seconds=math.inf)
    played = play(Script(text=CALL, seconds=0.1), "42}", bench=bench, timeout_s=0.5, grace_s=2)
    assert played.seconds == pytest.approx(2.5)
    assert played.sample.finish is FinishReason.DEADLINE


def test_a_call_that_cannot_be_run_is_answered_with_what_is_wrong() -> None:
    turns = (calling("{}", name="browser"), calling('{"code": 1'), calling('{"code": "1"}'), BOXED)
    played = play(*turns, tool_format=Native())
    told = [message.content for message in played.engine.calls[-1].prompt.messages if message.role == "tool"]
    assert "no tool named 'browser'" in told[0]
    assert "not valid JSON" in told[1]
    assert told[2] == "42"
    assert (played.sample.num_calls, played.sample.num_failed_calls, played.answer) == (1, 0, "42")


# -------------------------------------------------------------------------------------------- caps


def test_the_calls_are_capped_and_the_model_knows() -> None:
    played = play(*[CALL] * 21, "42}", max_calls=20)
    assert len(played.bench.codes) == played.sample.num_calls == 20
    last_output, refused = played.sample.text.split("```output\n")[-2:]
    assert "no calls are left: finish without them" in last_output
    assert refused.startswith(NO_CALLS_LEFT)
    assert (played.sample.finish, played.answer) == (FinishReason.LENGTH, "42")


def test_calls_that_cannot_be_run_count_against_the_cap_too() -> None:
    played = play(*[calling("{}", name="x")] * 3, "42}", tool_format=Native(), max_calls=2)
    assert len(played.engine.calls) == 4
    assert (played.sample.num_calls, played.sample.finish, played.answer) == (0, FinishReason.LENGTH, "42")


def test_an_attempts_tokens_are_capped_over_all_its_turns() -> None:
    params = SamplingParams(max_new_tokens=25)
    played = play(CALL, CALL, Script(text="so " * 100, num_tokens=100), Script(text="42}", num_tokens=3), params=params)
    assert [call.params.max_new_tokens for call in played.engine.calls] == [25, 15, 5, 64]
    assert (played.sample.num_tokens, played.sample.finish, played.answer) == (28, FinishReason.LENGTH, "42")


def test_a_turn_that_neither_calls_nor_answers_is_broken_off_and_asked() -> None:
    thinking = Script(text="<think>" + "hm " * 100, num_tokens=300)
    played = play(thinking, Script(text="42}.", num_tokens=4), tool_format=Fenced(), max_turn_tokens=200)
    assert [call.params.max_new_tokens for call in played.engine.calls] == [200, 64]
    assert played.last_prompt.endswith(f"\n</think>\n\n{LAST_WORDS}")
    assert (played.sample.num_tokens, played.sample.finish, played.answer) == (203, FinishReason.LENGTH, "42")


def test_the_only_turn_of_a_model_that_runs_no_code_has_all_of_the_attempts_tokens() -> None:
    """It was cut at 12,288 tokens, where OpenMath-Nemotron-14B lost 21 points of AIME24."""
    long = Script(text="hm " * 100 + BOXED, num_tokens=300)
    played = play(long, tool_format=Plain(), max_turn_tokens=200)
    assert played.engine.calls[0].params.max_new_tokens > 200
    assert (played.sample.num_tokens, played.sample.finish) == (300, FinishReason.STOP)


def test_the_last_call_is_made_in_the_seconds_kept_back_for_it() -> None:
    slow = Script(text="hm " * 1000, seconds=1000, num_tokens=1000)
    played = play(slow, Script(text="42}", seconds=2, num_tokens=4), timeout_s=100, last_call_s=10)
    assert [call.timeout_s for call in played.engine.calls] == pytest.approx([90, 10])
    assert (played.sample.finish, played.answer) == (FinishReason.DEADLINE, "42")
    assert played.seconds == pytest.approx(92)


def test_little_time_is_not_spent_on_the_last_call_alone() -> None:
    slow = Script(text="hm " * 1000, seconds=1000)
    played = play(slow, "42}", timeout_s=8, last_call_s=10)
    assert [call.timeout_s for call in played.engine.calls] == pytest.approx([6, 2])


def test_a_call_gets_no_more_time_than_there_is() -> None:
    played = play(Script(text=CALL, seconds=87), "42}", bench=Bench(seconds=50), timeout_s=100, last_call_s=10)
    assert played.bench.timeouts_s == pytest.approx([3])
    assert (played.sample.finish, played.answer, len(played.engine.calls)) == (FinishReason.DEADLINE, "42", 2)
    assert played.seconds <= 100


def test_calls_for_which_no_time_is_left_are_not_run() -> None:
    calls = calling("1", "2", "3", seconds=1)
    played = play(calls, "42}", tool_format=Native(), bench=Bench(seconds=60), timeout_s=20, call_timeout_s=50)
    assert len(played.bench.codes) == 1
    assert played.sample.text.count(NO_TIME_LEFT) == 2
    assert played.answer == "42"


def test_a_native_attempt_is_asked_by_the_user() -> None:
    played = play(calling("1"), Script(text="hm", num_tokens=10**6), "42}", tool_format=Native())
    assert roles(played.engine.calls[-1].prompt) == ["user", "assistant", "tool", "assistant", "user", "assistant"]
    assert LAST_QUESTION in played.sample.text
    assert (played.sample.finish, played.answer) == (FinishReason.LENGTH, "42")


def test_a_call_instead_of_a_last_answer_is_not_heard() -> None:
    played = play(Script(text="hm", num_tokens=10**6), calling("1", text="42}"), tool_format=Native())
    assert (played.bench.codes, played.answer) == ([], "42")
    assert "```python" not in played.sample.text


@pytest.mark.parametrize("tool_format", [Plain(), Fenced(), Native()])
def test_an_attempt_that_ends_without_an_answer_is_asked_for_it(tool_format: ToolFormat) -> None:
    played = play("I cannot say.", "42}", tool_format=tool_format)
    assert (played.sample.finish, played.answer) == (FinishReason.STOP, "42")


@pytest.mark.parametrize("text", [BOXED, "So the answer is 42."])
def test_an_attempt_that_ends_with_an_answer_is_left_alone(text: str) -> None:
    assert len(play(text).engine.calls) == 1


def test_in_a_text_that_was_broken_off_a_box_is_an_answer_and_a_statement_is_not() -> None:
    def broken_off(text: str) -> Played:
        played = play(Script(text=text + " " * len(text), num_tokens=8000), "42}")
        assert played.sample.text.startswith(text)
        assert played.sample.finish is FinishReason.LENGTH
        return played

    assert len(broken_off(BOXED).engine.calls) == 1
    assert extract("So the answer is 5.") is not None
    stated = broken_off("So the answer is 5.")
    assert (len(stated.engine.calls), stated.answer) == (2, "42")


BROKEN_OFF = Script(text="long reasoning " * 2, num_tokens=8000)  # of which an attempt of 4096 says the half


@pytest.mark.parametrize(
    "reply",
    ["42}", "42", "42$.", "42. Hmm, earlier \\boxed{1}", "42}. Hmm, earlier \\boxed{1}", "\\boxed{42}", "$42$"],
)
def test_the_answer_to_a_last_call_counts_however_its_box_ends(reply: str) -> None:
    """Replies without the closing brace gave no vote, and what came after it overruled them."""
    played = play(BROKEN_OFF, reply)
    assert (len(played.engine.calls), played.answer_of_last_call) == (2, 42)
    assert played.engine.calls[-1].params.stop == ("```output", "}")


def test_words_that_ramble_on_in_the_box_are_dropped_after_its_first_clause() -> None:
    rambling = " 42 \\text{ apples, because" + " of this" * 100
    played = play(BROKEN_OFF, Script(text=rambling, num_tokens=1000), last_call_tokens=500)
    assert played.sample.text.endswith(f"{LAST_WORDS} 42 \\text{{ apples}}}}")
    assert played.answer_of_last_call == 42


def test_a_number_that_was_cut_off_is_no_answer() -> None:
    played = play(BROKEN_OFF, Script(text="12345", num_tokens=5), last_call_tokens=3)
    assert (played.sample.text.endswith(f"{LAST_WORDS}123"), played.answer) == (True, None)


def test_an_answer_with_braces_of_its_own_is_gone_on_with_for_what_is_left_of_the_tokens() -> None:
    frac = Script(text="\\frac{84}", num_tokens=6)
    played = play(BROKEN_OFF, frac, Script(text="{2}}. I had \\boxed{1}", num_tokens=20))
    assert [call.params.max_new_tokens for call in played.engine.calls] == [4096, 64, 58]
    assert [call.params.stop for call in played.engine.calls[1:]] == [("```output", "}"), ("```output",)]
    assert played.last_prompt.endswith(f"{LAST_WORDS}\\frac{{84}}")
    assert played.answer_of_last_call == 42
    assert played.sample.num_tokens == 4096 + 26


@pytest.mark.parametrize("rest", [Script(fault=Fault.ERROR), Script(text="+ 1", seconds=1e6)])
def test_half_an_answer_with_braces_is_no_answer(rest: Script) -> None:
    """`2^{10}` may be the beginning of `2^{10} + 1`."""
    played = play(BROKEN_OFF, "2^{10}", rest)
    assert (len(played.engine.calls), played.answer) == (3, None)
    out_of_tokens = play(BROKEN_OFF, Script(text="2^{10}", num_tokens=64))
    assert (len(out_of_tokens.engine.calls), out_of_tokens.answer) == (2, None)


@pytest.mark.parametrize(
    "text", ["Step 1 gives \\boxed{x+1}. Next", "<think>It has to be in \\boxed{answer}. Let", "\\boxed{2.5} or so"]
)
@pytest.mark.parametrize("is_ended", [True, False])
def test_a_box_that_states_no_integer_keeps_no_last_call_away(text: str, is_ended: bool) -> None:
    played = play(Script(text=text if is_ended else text + " " * len(text), num_tokens=10 if is_ended else 8000), "42}")
    assert (len(played.engine.calls), played.answer_of_last_call) == (2, 42)


@pytest.mark.parametrize("boxed", ["10^{30}", "-7", "2^{100000}"])
def test_an_integer_outside_the_range_is_an_answer(boxed: str) -> None:
    """The problem may state a modulus, which brings it into the range."""
    assert len(play(f"So it is \\boxed{{{boxed}}}.").engine.calls) == 1


@pytest.mark.parametrize(
    "text",
    [
        "<think>maybe \\boxed{3}, no, wait:",
        "<|channel|>analysis<|message|>maybe \\boxed{3}, no, wait:",
        "analysisMaybe \\boxed{3}, no, wait:",
    ],
)
def test_a_thought_that_is_broken_off_is_asked_whatever_it_has_boxed(text: str) -> None:
    cut_off = Script(text=text + " " * len(text), num_tokens=8000)
    assert play(cut_off, "42}").answer_of_last_call == 42
    out_of_time = play(Script(text=text + " " * 10**6, seconds=1e6), "42}", timeout_s=60)
    assert (out_of_time.sample.finish, out_of_time.answer_of_last_call) == (FinishReason.DEADLINE, 42)


@pytest.mark.parametrize("reply", ["I am not sure", "", Script(fault=Fault.ERROR)])
def test_where_a_last_call_brings_nothing_the_box_of_the_thought_stays(reply: str | Script) -> None:
    text = "<think>maybe \\boxed{3}, no, wait:"
    played = play(Script(text=text + " " * len(text), num_tokens=8000), reply)
    assert (len(played.engine.calls), played.answer) == (2, "3")
    assert played.sample.text.strip() == text


def test_without_tokens_for_it_no_last_call_is_made_and_no_time_is_kept_back() -> None:
    slow = Script(text="hm " * 1000, seconds=1000)
    played = play(slow, "42}", timeout_s=100, last_call_tokens=0)
    assert [call.timeout_s for call in played.engine.calls] == [100]
    assert (played.sample.finish, played.answer) == (FinishReason.DEADLINE, None)


def test_a_full_context_is_asked_with_the_later_half_of_what_was_said() -> None:
    """An engine ends a text with LENGTH before its time where the context is full; more would not fit in."""
    text = "early " * 50 + "later " * 50

    @dataclass
    class Narrow:
        """Holds 600 characters, as many tokens."""

        prompts: list[str] = field(default_factory=list)

        async def sample(self, prompt: Prompt, params: SamplingParams, **_: Any) -> Sample:
            so_far = prompt.messages[-1].content if prompt.messages[-1].role == "assistant" else ""
            self.prompts.append(so_far)
            if len(so_far) > 600:
                raise EngineError("the prompt is longer than the context")
            new = "42}" if so_far.endswith(LAST_WORDS) else text
            return Sample(text=new, num_tokens=len(new), finish=FinishReason.LENGTH, seconds=0, seed=0)

    engine = Narrow()

    async def main() -> Sample:
        return await ToolReasoner(engine=engine, tool_format=Plain()).sample(PROMPT, SamplingParams(), timeout_s=60)

    sample = trio.run(main, clock=MockClock(autojump_threshold=0))
    assert engine.prompts[1] == "later " * 50 + f"\n\n{LAST_WORDS}"
    assert sample.text == f"{text}\n\n{LAST_WORDS}42}}"
    assert sample.finish is FinishReason.LENGTH


# ------------------------------------------------------------------------------------ engines that break


def test_what_breaks_the_first_turn_is_passed_on() -> None:
    with pytest.raises(EngineError, match="the engine breaks"):
        play(Script(fault=Fault.ERROR))
    played = play(Script(text=BOXED, fault=Fault.FAILED))
    assert (played.sample.finish, len(played.engine.calls)) == (FinishReason.FAILED, 1)
    assert played.sample.error


@pytest.mark.parametrize("fault", [Fault.ERROR, Fault.FAILED])
def test_an_engine_that_breaks_after_an_answer_costs_nothing(fault: Fault) -> None:
    played = play(f"It is \\boxed{{42}}. {CALL}", Script(text="As", fault=fault))
    assert (played.sample.finish, played.sample.error, played.answer) == (FinishReason.STOP, "", "42")
    assert len(played.engine.calls) == 2


@dataclass
class Buggy:
    """Says the turns, and raises those of them that are errors."""

    turns: list[str | Exception]

    async def sample(self, prompt: Prompt, params: SamplingParams, **_: Any) -> Sample:
        turn = self.turns.pop(0)
        if isinstance(turn, Exception):
            raise turn
        return Sample(text=turn, num_tokens=5, finish=FinishReason.STOP, seconds=0, seed=0)


def play_buggy(*turns: str | Exception) -> Sample:
    async def main() -> Sample:
        reasoner = ToolReasoner(engine=Buggy(list(turns)), tool_format=Fenced(), interpreters=Bench())
        return await reasoner.sample(PROMPT, SamplingParams(), timeout_s=60)

    return trio.run(main, clock=MockClock(autojump_threshold=0))


def test_a_bug_in_an_engine_costs_no_more_than_the_turn_it_breaks(caplog: pytest.LogCaptureFixture) -> None:
    """Only EngineError was caught, and any other error lost the answer that stood there."""
    answered = play_buggy(f"It is \\boxed{{42}}. {CALL}", ValueError("odd"))
    assert (answered.finish, answered.num_calls, answered.num_tokens) == (FinishReason.STOP, 1, 5)
    assert "odd" in caplog.text
    asked = play_buggy(CALL, ValueError("odd"), "42}")
    assert (asked.finish, asked.text.endswith("\\boxed{42}")) == (FinishReason.LENGTH, True)
    lost = play_buggy(CALL, ValueError("odd"), ValueError("odd"))
    assert (lost.finish, "odd" in lost.error) == (FinishReason.FAILED, True)
    assert play_buggy("I cannot say.", ValueError("odd")).finish is FinishReason.STOP


def test_a_bug_in_an_engines_first_turn_is_passed_on_as_an_error_of_the_engine() -> None:
    with pytest.raises(EngineError, match="odd"):
        play_buggy(ValueError("odd"))


@pytest.mark.parametrize("fault", [Fault.ERROR, Fault.FAILED])
def test_an_engine_that_breaks_before_an_answer_is_asked_once_more(fault: Fault) -> None:
    played = play(CALL, Script(fault=fault), "42}")
    assert (played.sample.finish, played.sample.error, played.answer) == (FinishReason.LENGTH, "", "42")
    assert played.sample.text.startswith(CALL)


def test_an_engine_that_stays_broken_fails_the_attempt_with_its_text() -> None:
    played = play(CALL, Script(fault=Fault.ERROR))
    assert (played.sample.finish, played.answer) == (FinishReason.FAILED, None)
    assert "the engine breaks" in played.sample.error
    assert played.sample.text == f"{CALL}\n42\n```\n"
    assert (played.sample.num_tokens, played.sample.num_calls) == (10, 1)
    assert played.bench.num_back == 1


def test_an_engine_that_breaks_the_last_call_leaves_the_attempt_as_it_was() -> None:
    played = play(Script(text="hm", num_tokens=10**6), Script(fault=Fault.ERROR))
    assert (played.sample.finish, played.sample.text, played.sample.error) == (FinishReason.LENGTH, "", "")


@pytest.mark.parametrize("fault", [Fault.HANG, Fault.LATE])
def test_an_engine_that_does_not_hand_back_in_time_is_not_waited_for(fault: Fault) -> None:
    late = Script(text="hm", fault=fault, seconds=1e6)
    answered = play(f"It is \\boxed{{42}}. {CALL}", late, timeout_s=50, grace_s=2)
    assert (answered.sample.finish, answered.answer) == (FinishReason.STOP, "42")
    assert answered.seconds == pytest.approx(52)
    assert play(CALL, late, timeout_s=50).sample.finish is FinishReason.FAILED
    with pytest.raises(EngineError, match="nothing back in time"):
        play(late, timeout_s=50)


# ------------------------------------------------------------------------------- watchers and cancelling


def test_a_watcher_sees_the_models_words_only_and_may_cut_any_turn() -> None:
    seen: list[str] = []

    def watch(chunk: Chunk) -> bool:
        seen.append(chunk.text)
        return "enough" in chunk.text

    played = play(CALL, Script(text="this is enough of it", num_tokens=10, num_chunks=1), on_chunk=watch)
    assert seen == [CALL, "this is enough of it"]
    assert played.sample.finish is FinishReason.ABORTED
    assert len(played.engine.calls) == 2  # no last call
    assert played.sample.text.endswith("this is enough of it")


def test_a_watcher_may_cut_the_last_call() -> None:
    thinking = Script(text="<think>" + "hm " * 100, num_tokens=300)
    played = play(thinking, "42}", max_turn_tokens=200, on_chunk=lambda chunk: "}" in chunk.text)
    assert (played.sample.finish, played.answer) == (FinishReason.ABORTED, "42")
    in_a_number = play(thinking, "42", max_turn_tokens=200, on_chunk=lambda chunk: "4" in chunk.text)
    assert (in_a_number.sample.finish, in_a_number.answer) == (FinishReason.ABORTED, None)


@pytest.mark.parametrize("after_s", [0.5, 1.2, 3.0, 9.0], ids=["turn", "lending", "running", "next turn"])
def test_a_cancelled_attempt_gives_its_interpreter_back(after_s: float) -> None:
    bench = Bench(lend_seconds=1, seconds=5)
    engine = playing([Script(text=CALL), Script(text=BOXED, seconds=100)])

    async def main() -> None:
        begun = trio.current_time()
        reasoner = ToolReasoner(engine=engine, tool_format=Fenced(), interpreters=bench)
        with trio.move_on_after(after_s) as scope:
            await reasoner.sample(PROMPT, SamplingParams(), timeout_s=1000)
        assert scope.cancelled_caught
        assert trio.current_time() - begun == pytest.approx(after_s)

    trio.run(main, clock=MockClock(autojump_threshold=0))
    assert bench.num_lent == bench.num_back == (1 if after_s > 2 else 0)
    assert engine.num_running == 0


# --------------------------------------------------------------------------------- seeds and token statistics


def test_turns_have_seeds_of_their_own_the_same_in_every_run() -> None:
    def seeds(seed: int) -> list[int]:
        played = play(CALL, CALL, "hm", "42}", params=SamplingParams(seed=seed))
        return [call.params.seed for call in played.engine.calls]

    assert seeds(5) == seeds(5) == [5, *(turn_seed(5, number) for number in (1, 2, 3))]
    assert len({*seeds(5), *seeds(6)}) == 8
    assert turn_seed(5, 1) == 9205710225766445887  # a resumed run must draw what the first one would have


def test_the_callers_own_stop_texts_are_kept() -> None:
    played = play(BOXED, params=SamplingParams(stop=("\n\nQuestion:",)))
    assert played.engine.calls[0].params.stop == ("\n\nQuestion:", "```output")


def test_what_is_known_of_the_tokens_is_put_together_over_turns() -> None:
    sure, torn = TokenStats(logprob=-0.1, entropy=0.2), TokenStats(logprob=-2.0, entropy=1.0)
    first = Script(text=CALL, num_tokens=3, mean_logprob=-1.0, mean_entropy=0.5, token_stats=(sure,) * 3)
    second = Script(text=BOXED, num_tokens=1, mean_logprob=-3.0, token_stats=(torn,))
    sample = play(first, second).sample
    assert sample.token_stats == (sure, sure, sure, torn)
    assert sample.mean_logprob == pytest.approx(-1.5)
    assert sample.mean_entropy == pytest.approx(0.5)  # of the turn where it is known
    assert play(first, dataclasses.replace(second, token_stats=())).sample.token_stats == ()


def test_recursion_is_kept() -> None:
    class Deep:
        async def sample(self, prompt: Prompt, params: SamplingParams, **_: Any) -> Sample:
            is_first = prompt.messages[-1].role == "user"
            text, num_tokens, halting = (CALL, 30, 0.9) if is_first else (BOXED, 10, 0.5)
            return Sample(
                text=text, num_tokens=num_tokens, finish=FinishReason.STOP, seconds=0, seed=0, depth=5, halting=halting
            )

    async def main() -> Sample:
        reasoner = ToolReasoner(engine=Deep(), tool_format=Fenced(), interpreters=Bench())
        return await reasoner.sample(PROMPT, SamplingParams(depth=5), timeout_s=60)

    sample = trio.run(main, clock=MockClock(autojump_threshold=0))
    assert (sample.depth, sample.halting) == (5, pytest.approx(0.8))


# ---------------------------------------------------------------------------------------- all of it

TURNS = st.builds(
    Script,
    text=st.sampled_from([CALL, BOXED, "hm", "<think>hm", "```python\nx", "```output", "42}", "{1}", ""]),
    seconds=st.sampled_from([0.0, 0.5, 3.0, 40.0, 1e4]),
    num_tokens=st.sampled_from([1, 7, 60, 5000]),
    fault=st.sampled_from([Fault.NONE] * 8 + [Fault.ERROR, Fault.FAILED, Fault.HANG, Fault.LATE]),
    tool_calls=st.sampled_from([(), (ToolCall(id="a", name="python", arguments="1"),) * 2]),
)
BENCHES = st.builds(
    Bench,
    seconds=st.sampled_from([0.0, 0.1, 5.0, 100.0, math.inf]),
    lend_seconds=st.sampled_from([0.0, 1.0, 30.0, math.inf]),
    end_seconds=st.sampled_from([0.0, 1.0, math.inf]),
    breaks=st.sampled_from(["", "", "", "lend", "run", "end"]),
)


@settings(max_examples=300)
@given(
    turns=st.lists(TURNS, min_size=1, max_size=6),
    bench=BENCHES,
    tool_format=st.sampled_from([Plain(), Fenced(), Native()]),
    timeout_s=st.sampled_from([-1.0, 0.0, 0.5, 8.0, 60.0, 600.0]),
    max_new_tokens=st.sampled_from([1, 50, 4096]),
    max_calls=st.sampled_from([0, 1, 20]),
    is_watched=st.booleans(),
)
def test_whatever_happens_the_caps_hold_and_interpreters_come_back(
    turns: list[Script],
    bench: Bench,
    tool_format: ToolFormat,
    timeout_s: float,
    max_new_tokens: int,
    max_calls: int,
    is_watched: bool,
) -> None:
    engine, config = playing(turns), ReasoningConfig(max_calls=max_calls, max_turn_tokens=500)
    samples: list[Sample] = []

    async def main() -> float:
        begun = trio.current_time()
        reasoner = ToolReasoner(engine=engine, tool_format=tool_format, interpreters=bench, config=config)
        watch = (lambda chunk: False) if is_watched else None
        params = SamplingParams(max_new_tokens=max_new_tokens)
        try:
            samples.append(await reasoner.sample(PROMPT, params, timeout_s=timeout_s, on_chunk=watch))
        except EngineError:
            assert len(engine.calls) == 1
        return trio.current_time() - begun

    seconds = trio.run(main, clock=MockClock(autojump_threshold=0))
    assert seconds <= max(0.0, timeout_s) + config.grace_s + 1e-6
    assert bench.num_lent == bench.num_back
    assert all(call.outcome is not Outcome.RUNNING for call in engine.calls)
    assert len(engine.calls) <= max_calls + 4
    for sample in samples:
        assert sample.num_tokens <= max_new_tokens + config.last_call_tokens
        assert sample.num_failed_calls <= sample.num_calls <= max_calls
        assert (sample.finish is FinishReason.FAILED) == bool(sample.error)
        assert 0 <= sample.seconds <= seconds + 1e-6


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_turn_tokens", 0),
        ("max_calls", -1),
        ("call_timeout_s", 0),
        ("call_timeout_s", math.inf),
        ("lend_timeout_s", 0),
        ("last_call_tokens", -1),
        ("last_call_s", -1),
        ("grace_s", 0),
        ("grace_s", float("nan")),
    ],
)
def test_settings_that_make_no_sense_are_refused(name: str, value: float) -> None:
    with pytest.raises(InputError, match=name):
        ReasoningConfig(**{name: value})  # type: ignore[arg-type]
