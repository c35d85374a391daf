"""What every engine promises, as one suite: subclass EngineContract and give it a `subject` fixture.

    class TestMyEngine(EngineContract):
        @pytest.fixture
        async def subject(self): ...   # yields a Subject

Tests run on trio through anyio's plugin. Times are on trio's clock, so a scripted engine may bring
an autojump clock through its own `anyio_backend` fixture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import trio

from kit.errors import EngineError
from kit.sampling import Chunk, Engine, FinishReason, Message, Prompt, Sample, SamplingParams
from tests.engines import tiny
from tests.waiting import longer_and_longer, until


@dataclass(frozen=True, kw_only=True)
class Subject:
    """An engine and what the suite must know of it.

    prompt: one whose text would go on for much longer than any timeout here, unless max_new_tokens
        ends it. bad_prompt: one that it cannot sample. num_slots: attempts that run at once.
    goes_on: whether a text gone on with half-way ends as the whole one: the engine reads what it is given, and
        its tokens of a text are the same whether it wrote them or reads them.
    patience_s: what an attempt that is ended may take to return; the prompt's text must go on for longer.
    """

    engine: Engine
    prompt: Prompt
    bad_prompt: Prompt
    num_slots: int
    goes_on: bool = False
    patience_s: float = 5.0


@dataclass(slots=True)
class Watcher:
    """Remembers the chunks it was shown and cuts at the first after which `enough` of them have come."""

    enough: int = 10**9
    chunks: list[Chunk] = field(default_factory=list)

    def __call__(self, chunk: Chunk) -> bool:
        self.chunks.append(chunk)
        return len(self.chunks) >= self.enough

    @property
    def text(self) -> str:
        return "".join(chunk.text for chunk in self.chunks)

    @property
    def num_tokens(self) -> int:
        return sum(chunk.num_tokens for chunk in self.chunks)


def quick(seed: int = 0, **more: Any) -> SamplingParams:
    return SamplingParams(**{"seed": seed, "temperature": 1.0, "max_new_tokens": 8, **more})


def endless(seed: int = 0) -> SamplingParams:
    return SamplingParams(seed=seed, temperature=1.0, max_new_tokens=10**6)


async def sample_all(
    subject: Subject,
    params: list[SamplingParams],
    *,
    timeout_s: float = 60.0,
    watch: Callable[[], Watcher | None] = lambda: None,
) -> list[Sample]:
    """Sample concurrently, each call with a watcher of its own; results in the order of the parameters."""
    samples: dict[int, Sample] = {}

    async def one(index: int) -> None:
        samples[index] = await subject.engine.sample(
            subject.prompt, params[index], timeout_s=timeout_s, on_chunk=watch()
        )

    async with trio.open_nursery() as tasks:
        for index in range(len(params)):
            tasks.start_soon(one, index)
    return [samples[index] for index in range(len(params))]


async def greedy(subject: Subject, prompt: Prompt, num_tokens: int) -> str:
    params = SamplingParams(temperature=0, max_new_tokens=num_tokens)
    return (await subject.engine.sample(prompt, params, timeout_s=60)).text


async def text_that_shows(subject: Subject, prompt_of: Callable[[str], Prompt]) -> str:
    """A text whose greedy continuation shows each of its first five tokens.

    The test models' tokens are characters. Their weights are random, so other versions of torch draw others, and some
    texts are followed by a special token, which no text shows and which could not be given back.
    """
    texts = ("abc", "7", "2+2=", "x", "1", *(f"{letter * 3}{number}" for letter in "abcdefgh" for number in range(8)))
    for text in texts:
        if len(await greedy(subject, prompt_of(text), 5)) == 5:
            return text
    raise AssertionError(f"each of {len(texts)} texts is followed by a special token")


class EngineContract:
    """The promises of kit.sampling.Engine."""

    pytestmark = pytest.mark.anyio

    @pytest.fixture
    def anyio_backend(self) -> Any:
        return "trio"

    async def test_returns_a_sample_within_its_limits(self, subject: Subject) -> None:
        sample = await subject.engine.sample(subject.prompt, quick(7), timeout_s=60)
        assert sample.text
        assert sample.seed == 7
        assert 1 <= sample.num_tokens <= 8
        assert sample.finish in {FinishReason.STOP, FinishReason.LENGTH}
        assert sample.error == ""
        assert 0 <= sample.seconds <= 60
        assert sample.mean_logprob is None or sample.mean_logprob <= 0
        assert sample.mean_entropy is None or sample.mean_entropy >= 0

    async def test_a_raw_text_is_sampled_as_a_chat_is(self, subject: Subject) -> None:
        raw = Prompt.raw("Question: 2+2?\nAnswer:")
        first, second = [await subject.engine.sample(raw, quick(7), timeout_s=60) for _ in range(2)]
        assert first.text == second.text
        assert 1 <= first.num_tokens <= 8
        assert first.finish in {FinishReason.STOP, FinishReason.LENGTH}

    async def test_a_raw_text_is_gone_on_with_as_it_stands(self, subject: Subject) -> None:
        if not subject.goes_on:
            pytest.skip("this engine's text does not follow from the text before it")

        text = await text_that_shows(subject, Prompt.raw)
        whole, first = [await greedy(subject, Prompt.raw(text), num_tokens) for num_tokens in (6, 3)]
        assert first + await greedy(subject, Prompt.raw(text + first), 3) == whole

    async def test_a_text_is_cut_at_max_new_tokens(self, subject: Subject) -> None:
        sample = await subject.engine.sample(subject.prompt, quick(max_new_tokens=3), timeout_s=60)
        assert (sample.finish, sample.num_tokens) == (FinishReason.LENGTH, 3)

    async def test_the_same_seed_gives_the_same_text(self, subject: Subject) -> None:
        first, second = [await subject.engine.sample(subject.prompt, quick(5), timeout_s=60) for _ in range(2)]
        assert first.text == second.text

    async def test_different_seeds_give_different_texts(self, subject: Subject) -> None:
        texts = {sample.text for sample in await sample_all(subject, [quick(seed) for seed in range(4)])}
        assert len(texts) > 1

    async def test_a_text_does_not_depend_on_what_else_is_running(self, subject: Subject) -> None:
        alone = await subject.engine.sample(subject.prompt, quick(3), timeout_s=60)
        crowd = await sample_all(subject, [quick(seed) for seed in (9, 8, 3, 1)])
        assert crowd[2].text == alone.text

    async def test_many_more_calls_than_slots_all_end_each_with_its_own_seed(self, subject: Subject) -> None:
        seeds = list(range(3 * subject.num_slots + 1))
        samples = await sample_all(subject, [quick(seed) for seed in seeds])
        assert [sample.seed for sample in samples] == seeds
        assert all(sample.finish in {FinishReason.STOP, FinishReason.LENGTH} for sample in samples)

    async def test_a_timeout_ends_the_text_with_what_there_is(self, subject: Subject) -> None:
        for timeout_s in longer_and_longer(0.3):
            begun_s = trio.current_time()
            cut = await subject.engine.sample(subject.prompt, endless(2), timeout_s=timeout_s)
            assert trio.current_time() - begun_s < timeout_s + subject.patience_s
            assert cut.finish is FinishReason.DEADLINE
            if cut.num_tokens:
                break
        assert cut.num_tokens > 0
        whole = await subject.engine.sample(subject.prompt, quick(2, max_new_tokens=40), timeout_s=60)
        shorter, longer = sorted([cut.text, whole.text], key=len)
        assert longer.startswith(shorter)

    async def test_no_time_at_all_gives_an_empty_text_at_once(self, subject: Subject) -> None:
        for timeout_s in (0.0, -3.0):
            sample = await subject.engine.sample(subject.prompt, endless(), timeout_s=timeout_s)
            assert sample.finish is FinishReason.DEADLINE
            assert sample.seconds < 1

    async def test_cancelled_calls_return_promptly_and_free_their_slots(self, subject: Subject) -> None:
        params = [endless(seed) for seed in range(2 * subject.num_slots + 1)]
        watchers = [Watcher() for _ in range(subject.num_slots + 1)]  # one of them at least has a slot
        watches = iter([*watchers, *[None] * subject.num_slots])
        async with trio.open_nursery() as tasks:
            tasks.start_soon(lambda: sample_all(subject, params, timeout_s=1e6, watch=lambda: next(watches)))
            await until(lambda: any(watcher.chunks for watcher in watchers))
            cancelled_s = trio.current_time()
            tasks.cancel_scope.cancel()
        assert tasks.cancel_scope.cancelled_caught
        assert trio.current_time() - cancelled_s < subject.patience_s
        sample = await subject.engine.sample(subject.prompt, quick(1), timeout_s=subject.patience_s)
        assert sample.finish is not FinishReason.DEADLINE

    async def test_a_prompt_it_cannot_sample_raises_and_harms_no_other_call(self, subject: Subject) -> None:
        async with trio.open_nursery() as tasks:
            others: list[Sample] = []

            async def other() -> None:
                others.extend(await sample_all(subject, [quick(seed) for seed in range(3)]))

            tasks.start_soon(other)
            with pytest.raises(EngineError, match=r"\w"):
                await subject.engine.sample(subject.bad_prompt, quick(), timeout_s=60)
        later = await subject.engine.sample(subject.prompt, quick(), timeout_s=60)
        assert [sample.error for sample in [*others, later]] == [""] * 4

    async def test_a_stop_text_ends_the_sample_and_stays_its_end(self, subject: Subject) -> None:
        whole = await subject.engine.sample(subject.prompt, quick(6, max_new_tokens=24), timeout_s=60)
        middle = len(whole.text) // 2
        for stop in (whole.text[middle], whole.text[middle - 2 : middle + 2]):
            end = whole.text.index(stop) + len(stop)
            params = quick(6, max_new_tokens=24, stop=("never in it", stop))
            sample = await subject.engine.sample(subject.prompt, params, timeout_s=60)
            assert (sample.text, sample.finish) == (whole.text[:end], FinishReason.STOP)
            assert sample.num_tokens <= whole.num_tokens
            assert len(sample.token_stats) in {0, sample.num_tokens}

    async def test_of_several_stop_texts_the_first_to_be_complete_ends_the_sample(self, subject: Subject) -> None:
        whole = await subject.engine.sample(subject.prompt, quick(6, max_new_tokens=24), timeout_s=60)
        later, sooner = whole.text[:9], whole.text[4:7]
        end = min(whole.text.index(stop) + len(stop) for stop in (later, sooner))
        sample = await subject.engine.sample(
            subject.prompt, quick(6, max_new_tokens=24, stop=(later, sooner)), timeout_s=60
        )
        assert sample.text == whole.text[:end]

    async def test_a_stop_text_that_does_not_come_changes_nothing(self, subject: Subject) -> None:
        plain = await subject.engine.sample(subject.prompt, quick(4), timeout_s=60)
        sample = await subject.engine.sample(subject.prompt, quick(4, stop=("never in it",)), timeout_s=60)
        assert replace(sample, seconds=0) == replace(plain, seconds=0)

    async def test_the_chunks_together_are_the_sample(self, subject: Subject) -> None:
        plain = await sample_all(subject, [quick(seed, max_new_tokens=24) for seed in range(5)])
        for whole in plain:
            watcher = Watcher()
            params = quick(whole.seed, max_new_tokens=24)
            sample = await subject.engine.sample(subject.prompt, params, timeout_s=60, on_chunk=watcher)
            assert (sample.text, sample.finish) == (whole.text, whole.finish)
            assert (watcher.text, watcher.num_tokens) == (sample.text, sample.num_tokens)
            assert tuple(token for chunk in watcher.chunks for token in chunk.token_stats) == sample.token_stats

    async def test_the_chunks_of_a_text_that_stops_end_with_the_stop_text(self, subject: Subject) -> None:
        whole = await subject.engine.sample(subject.prompt, quick(6, max_new_tokens=24), timeout_s=60)
        watcher = Watcher()
        params = quick(6, max_new_tokens=24, stop=(whole.text[3:6],))
        sample = await subject.engine.sample(subject.prompt, params, timeout_s=60, on_chunk=watcher)
        assert (watcher.text, watcher.num_tokens) == (sample.text, sample.num_tokens)

    async def test_a_watcher_that_has_seen_enough_ends_its_attempt_with_the_text_so_far(self, subject: Subject) -> None:
        watcher = Watcher(enough=3)
        sample = await subject.engine.sample(subject.prompt, endless(2), timeout_s=60, on_chunk=watcher)
        assert sample.finish is FinishReason.ABORTED
        assert len(watcher.chunks) == 3
        assert sample.text
        assert sample.text.startswith(watcher.text)
        assert sample.num_tokens >= watcher.num_tokens
        assert sample.seconds < subject.patience_s

    async def test_attempts_that_are_cut_free_their_slots(self, subject: Subject) -> None:
        params = [endless(seed) for seed in range(3 * subject.num_slots)]
        patience_s = 2 * subject.patience_s  # each waits for others to be cut
        samples = await sample_all(subject, params, timeout_s=3 * patience_s, watch=lambda: Watcher(enough=2))
        assert {sample.finish for sample in samples} == {FinishReason.ABORTED}
        assert max(sample.seconds for sample in samples) < patience_s

    async def test_a_watched_attempt_whose_time_runs_out_keeps_what_was_shown(self, subject: Subject) -> None:
        for timeout_s in longer_and_longer(0.3):
            watcher = Watcher()
            sample = await subject.engine.sample(subject.prompt, endless(2), timeout_s=timeout_s, on_chunk=watcher)
            assert sample.finish is FinishReason.DEADLINE
            shorter, longer = sorted([sample.text, watcher.text], key=len)
            assert longer.startswith(shorter)
            if watcher.chunks:
                break
        assert watcher.chunks

    async def test_a_watcher_that_raises_costs_its_own_attempt_only(self, subject: Subject) -> None:
        def watcher(_chunk: Chunk) -> bool:
            raise ZeroDivisionError("as watchers do")

        expected = await sample_all(subject, [quick(seed) for seed in range(3)])
        others: list[Sample] = []

        async def other() -> None:
            others.extend(await sample_all(subject, [quick(seed) for seed in range(3)]))

        async with trio.open_nursery() as tasks:
            tasks.start_soon(other)
            with pytest.raises(EngineError, match=r"watcher .* broke: .*as watchers do"):
                await subject.engine.sample(subject.prompt, endless(), timeout_s=60, on_chunk=watcher)
        assert [sample.text for sample in others] == [sample.text for sample in expected]
        assert (await subject.engine.sample(subject.prompt, quick(), timeout_s=60)).text == expected[0].text

    async def test_an_assistants_turn_is_gone_on_with(self, subject: Subject) -> None:
        if not subject.goes_on:
            pytest.skip("this engine's text does not follow from the text before it")

        prompt = tiny.chat(await text_that_shows(subject, tiny.chat))
        whole = await greedy(subject, prompt, 6)
        for num_first in (1, 3, 5):
            first = await greedy(subject, prompt, num_first)
            turn = Prompt((*prompt.messages, Message("assistant", first)))
            assert first + await greedy(subject, turn, 6 - num_first) == whole
