from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import trio

from kit.assets import TINY_MODEL
from kit.engines.text.chat import Rendered
from kit.engines.text.model_folder import check_safetensors
from kit.engines.text.tokenizer import load_tokenizer
from kit.engines.transformers.decoding import Attempt
from kit.engines.transformers.engine import TransformersEngine
from kit.errors import EngineError, InputError, MissingError
from kit.sampling import FinishReason, Message, Prompt, Sample, SamplingParams, Tool, ToolCall
from kit.tasks import LoopThread
from tests.engines import tiny
from tests.engines.contract import EngineContract, Subject, Watcher, endless, quick
from tests.oracles import generation_reference as reference
from tests.waiting import PATIENCE_S, longer_and_longer, until

PROMPT = tiny.chat("what is 1+1?")
CONTEXT = 16_384  # more than the patience of any test here


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    assert not [thread for thread in threading.enumerate() if thread.name == "kit-decode"]


class TestContract(EngineContract):
    @pytest.fixture
    async def subject(self) -> AsyncIterator[Subject]:
        model = tiny.build(endless=True, context=CONTEXT).to(tiny.DEVICE)
        async with TransformersEngine(model, tiny.tokenizer(), max_batch=4) as engine:
            too_long = tiny.chat("x" * CONTEXT)
            subject = Subject(engine=engine, prompt=PROMPT, bad_prompt=too_long, num_slots=4, goes_on=True)
            yield replace(subject, patience_s=20.0)


def run(act: Callable[[TransformersEngine], Any], model: Any = None, **settings: Any) -> Any:
    """Run `act(engine)` on trio and close the engine."""

    async def main() -> Any:
        async with TransformersEngine(tiny.build() if model is None else model, tiny.tokenizer(), **settings) as engine:
            return await act(engine)

    return trio.run(main)


def gather(*seeds: int, **params: Any) -> Callable[[TransformersEngine], Any]:
    """Sample these seeds at once; gives Sample or EngineError by seed."""

    async def act(engine: TransformersEngine) -> dict[int, Sample | EngineError]:
        results: dict[int, Sample | EngineError] = {}

        async def one(seed: int) -> None:
            try:
                results[seed] = await engine.sample(PROMPT, quick(seed, **params), timeout_s=60)
            except EngineError as error:
                results[seed] = error

        async with trio.open_nursery() as nursery:
            for seed in seeds:
                nursery.start_soon(one, seed)
        return results

    return act


def before_forward(model: Any, act: Callable[[torch.Tensor], None]) -> None:
    """Call `act(input_ids)` ahead of every forward pass."""
    model.register_forward_pre_hook(lambda _module, _args, kwargs: act(kwargs["input_ids"]), with_kwargs=True)


def test_samples_equal_one_by_one_generation_by_the_reference() -> None:
    model, tokenizer = tiny.build(), tiny.tokenizer()
    prompt_ids = tokenizer("<|im_start|>user\nwhat is 1+1?<|im_end|><|im_start|>")["input_ids"]
    samples = run(gather(*range(6), max_new_tokens=30, top_p=0.9), model, max_batch=2)
    for seed, sample in samples.items():
        params = quick(seed, max_new_tokens=30, top_p=0.9)
        expected = reference.generate(model, prompt_ids, params, eos_ids={tiny.EOS_ID}, context=512)
        assert sample.text == tokenizer.decode(expected.token_ids, skip_special_tokens=True)
        assert sample.num_tokens == len(expected.token_ids)
        assert sample.finish is (FinishReason.STOP if expected.token_ids[-1] == tiny.EOS_ID else FinishReason.LENGTH)
        assert sample.mean_logprob == pytest.approx(expected.mean_logprob, abs=1e-10)
        assert sample.mean_entropy == pytest.approx(expected.mean_entropy, abs=1e-10)
        assert len(sample.token_stats) == sample.num_tokens
        mean = sum(token.logprob for token in sample.token_stats) / sample.num_tokens
        assert mean == pytest.approx(expected.mean_logprob, abs=1e-10)
    assert {sample.finish for sample in samples.values()} == {FinishReason.STOP, FinishReason.LENGTH}


def test_any_of_several_end_tokens_stops_a_text_and_stays_out_of_it() -> None:
    """Also one that the tokenizer does not mark as special, as "a" is here."""
    model = tiny.build(endless=True)
    im_end, letter_a = tiny.EOS_ID - 1, 0
    model.generation_config.eos_token_id = [im_end, letter_a]
    samples = run(gather(*range(24), max_new_tokens=60), model).values()
    assert all("a" not in sample.text and "<" not in sample.text for sample in samples)
    assert any(sample.finish is FinishReason.STOP for sample in samples)
    assert all(sample.num_tokens > len(sample.text) for sample in samples if sample.finish is FinishReason.STOP)


def test_a_text_ends_where_the_context_ends() -> None:
    model = tiny.build(endless=True, context=40)
    num_prompt = len("user\nwhat is 1+1?") + 3
    sample = run(gather(1, max_new_tokens=500), model)[1]
    assert (sample.finish, sample.num_tokens) == (FinishReason.LENGTH, 40 - num_prompt)


def test_a_prompt_beyond_the_context_is_told_with_both_numbers() -> None:
    error = run(gather(1), tiny.build(context=10))[1]
    assert isinstance(error, EngineError)
    assert "20 tokens" in str(error)
    assert "holds 10" in str(error)


def test_a_chat_that_the_template_refuses_raises_its_reason() -> None:
    model, tokenizer = tiny.build(), tiny.tokenizer(chat_template="{{ raise_exception('no such role') }}")

    async def main() -> None:
        async with TransformersEngine(model, tokenizer) as engine:
            with pytest.raises(EngineError, match="no such role"):
                await engine.sample(PROMPT, quick(), timeout_s=60)

    trio.run(main)


def test_a_cancelled_call_costs_at_most_one_more_forward_pass() -> None:
    model = tiny.build(endless=True, context=CONTEXT)
    num_passes = 0

    def count(_ids: torch.Tensor) -> None:
        nonlocal num_passes
        num_passes += 1
        time.sleep(0.002)

    before_forward(model, count)

    async def act(engine: TransformersEngine) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(engine.sample, PROMPT, endless(), timeout_s=PATIENCE_S))
            await until(lambda: num_passes > 3)
            nursery.cancel_scope.cancel()
        before = num_passes
        await trio.sleep(0.2)
        assert num_passes <= before + 1

    run(act, model)


def test_a_deadline_holds_while_the_model_is_stuck() -> None:
    model = tiny.build()
    stuck = threading.Event()
    before_forward(model, lambda _ids: stuck.wait(PATIENCE_S) and None)

    async def act(engine: TransformersEngine) -> Sample:
        sample = await engine.sample(PROMPT, quick(), timeout_s=0.1)
        stuck.set()
        return sample

    sample = run(act, model)
    assert (sample.finish, sample.text, sample.mean_logprob) == (FinishReason.DEADLINE, "", None)
    assert sample.seconds < PATIENCE_S / 2


def test_a_failure_of_the_model_fails_the_calls_in_flight_and_no_later_one() -> None:
    model = tiny.build()
    faults = [ZeroDivisionError("boom")]

    def break_once(_ids: torch.Tensor) -> None:
        if faults:
            raise faults.pop()

    before_forward(model, break_once)

    async def act(engine: TransformersEngine) -> tuple[Any, Any]:
        return (await gather(1)(engine))[1], (await gather(1)(engine))[1]

    first, second = run(act, model)
    assert isinstance(first, EngineError)
    assert "boom" in str(first)
    assert isinstance(first.__cause__, ZeroDivisionError)
    assert second.finish in {FinishReason.STOP, FinishReason.LENGTH}


def test_running_out_of_memory_halves_the_batch_and_changes_no_text() -> None:
    model = tiny.build()
    calm = run(gather(*range(8), max_new_tokens=20), model, max_batch=8)
    batches: list[int] = []

    def limit(ids: torch.Tensor) -> None:
        batches.append(ids.shape[0])
        if ids.shape[0] > 3:
            raise torch.OutOfMemoryError("no memory for more than three rows")

    before_forward(model, limit)
    squeezed = run(gather(*range(8), max_new_tokens=20), model, max_batch=8)
    assert max(batches) > 3
    assert {seed: sample.text for seed, sample in squeezed.items()} == {
        seed: sample.text for seed, sample in calm.items()
    }


def test_running_out_of_memory_with_one_row_fails_it() -> None:
    model = tiny.build()

    def never(_ids: torch.Tensor) -> None:
        raise torch.OutOfMemoryError("none at all")

    before_forward(model, never)
    error = run(gather(1), model)[1]
    assert isinstance(error, EngineError)
    assert "none at all" in str(error)


def test_broken_logits_fail_the_sample_and_not_the_engine() -> None:
    model = tiny.build()

    def poison(_module: Any, _args: Any, _kwargs: Any, output: Any) -> None:
        output.logits.fill_(torch.nan)

    handle = model.register_forward_hook(poison, with_kwargs=True)

    async def act(engine: TransformersEngine) -> tuple[Any, Any]:
        broken = (await gather(1)(engine))[1]
        handle.remove()
        return broken, (await gather(1)(engine))[1]

    broken, healthy = run(act, model)
    assert (broken.finish, broken.num_tokens) == (FinishReason.FAILED, 0)
    assert "NaN" in broken.error
    assert healthy.error == ""


def test_closing_fails_calls_in_flight_and_waiting() -> None:
    model, passes = tiny.build(endless=True, context=CONTEXT), list[torch.Tensor]()
    before_forward(model, passes.append)

    async def act(engine: TransformersEngine) -> list[EngineError]:
        errors: list[EngineError] = []

        async def one() -> None:
            with pytest.raises(EngineError, match="closed") as caught:
                await engine.sample(PROMPT, endless(), timeout_s=PATIENCE_S)
            errors.append(caught.value)

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(one)
            await until(lambda: any(len(ids) == 2 for ids in passes))  # the third waits
            await trio.to_thread.run_sync(engine.close)
        with pytest.raises(EngineError, match="closed"):
            await engine.sample(PROMPT, quick(), timeout_s=60)
        engine.close()
        return errors

    assert len(run(act, model, max_batch=2)) == 3


def test_leaving_while_cancelled_still_ends_the_thread() -> None:
    model, passes = tiny.build(endless=True), list[torch.Tensor]()
    before_forward(model, passes.append)

    async def use() -> None:
        async with TransformersEngine(model, tiny.tokenizer()) as engine:
            await engine.sample(PROMPT, endless(), timeout_s=PATIENCE_S)
            await trio.sleep_forever()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(use)
            await until(lambda: passes)
            nursery.cancel_scope.cancel()

    trio.run(main)  # the autouse fixture looks for the thread


def test_an_engine_nobody_used_has_no_thread_and_closes() -> None:
    engine = TransformersEngine(tiny.build(), tiny.tokenizer())
    assert not [thread for thread in threading.enumerate() if thread.name == "kit-decode"]
    engine.close()


def test_it_serves_an_event_loop_that_lives_in_another_thread() -> None:
    """As in the gateway: gRPC's thread calls, trio runs in another, the decode thread is a third."""
    engine = TransformersEngine(tiny.build(), tiny.tokenizer())

    async def call(seed: int) -> Sample:
        return await engine.sample(PROMPT, quick(seed), timeout_s=60)

    for seeds in (range(4), range(9, 10)):
        loop = LoopThread()
        loop.start()
        futures = [loop.start_soon(partial(call, seed)) for seed in seeds]
        assert [future.result().seed for future in futures] == list(seeds)
        loop.stop()
    engine.close()


def test_a_loop_that_ended_early_does_not_harm_the_engine() -> None:
    model, passes, release = tiny.build(), list[torch.Tensor](), threading.Event()

    def hold(ids: torch.Tensor) -> None:
        passes.append(ids)
        release.wait(PATIENCE_S)

    before_forward(model, hold)
    engine = TransformersEngine(model, tiny.tokenizer())

    async def leave_early() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(engine.sample, PROMPT, quick(), timeout_s=PATIENCE_S))
            await until(lambda: passes)
            nursery.cancel_scope.cancel()

    async def stay() -> Sample:
        return await engine.sample(PROMPT, quick(), timeout_s=60)

    trio.run(leave_early)
    release.set()
    assert trio.run(stay).num_tokens > 0
    engine.close()


def test_closing_wakes_nobody_in_a_loop_that_has_ended() -> None:
    model = tiny.build()
    stuck = threading.Event()
    before_forward(model, lambda _ids: stuck.wait(PATIENCE_S) and None)
    engine = TransformersEngine(model, tiny.tokenizer(), max_batch=1)

    async def leave_two_behind() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(partial(engine.sample, PROMPT, quick(), timeout_s=0.1))

    trio.run(leave_two_behind)
    threading.Timer(0.1, stuck.set).start()
    engine.close()  # a thread that ends in an exception is a warning, hence an error here


def test_without_chat_template_raw_texts_are_completed_and_chats_refused() -> None:
    async def draw(prompt: Prompt) -> Sample:
        async with TransformersEngine(tiny.build(), tiny.tokenizer(chat_template=None)) as engine:
            return await engine.sample(prompt, quick(), timeout_s=60)

    assert trio.run(draw, Prompt.raw("1+1=")).num_tokens > 0
    with pytest.raises(EngineError, match="no chat template; only a raw text can be completed"):
        trio.run(draw, PROMPT)


def test_a_batch_of_no_rows_is_refused() -> None:
    with pytest.raises(InputError, match="max_batch must be >= 1, got 0"):
        TransformersEngine(tiny.build(), tiny.tokenizer(), max_batch=0)


def test_greedy_ignores_the_seed() -> None:
    samples = run(gather(1, 2, temperature=0.0))
    assert samples[1].text == samples[2].text


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny.build(dtype=torch.float32).save_pretrained(tmp_path)
    tiny.tokenizer().save_pretrained(tmp_path)
    return tmp_path


def test_a_saved_model_loads_and_samples_without_any_network(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: Any) -> None:
        raise AssertionError("the loader tried the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)

    async def main() -> Sample:
        async with TransformersEngine.load(folder, device="cpu", dtype="float64") as engine:
            return await engine.sample(PROMPT, quick(4), timeout_s=60)

    expected = run(gather(4), tiny.build(dtype=torch.float32).double())[4]
    assert trio.run(main).text == expected.text


def test_the_saved_tokenizer_is_not_replaced_by_the_model_types_own(folder: Path) -> None:
    """Regression: AutoTokenizer gave a qwen2 folder Qwen2's pre-tokenizer, which lost the spaces here."""
    text = "a b\nc"
    assert load_tokenizer(folder)(text)["input_ids"] == tiny.tokenizer()(text)["input_ids"]


def test_sharded_weights_load(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    tiny.build(dtype=torch.float32).save_pretrained(folder, max_shard_size="20KB")
    assert (folder / "model.safetensors.index.json").is_file()
    TransformersEngine.load(folder, device="cpu").close()


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"no model folder at .*absent"):
        TransformersEngine.load(tmp_path / "absent")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("config.json", "config.json is missing"),
        ("model.safetensors", "no weights"),
        ("tokenizer.json", "no tokenizer"),
    ],
)
def test_a_missing_file_is_named(folder: Path, name: str, message: str) -> None:
    (folder / name).unlink()
    with pytest.raises(MissingError, match=message):
        TransformersEngine.load(folder, device="cpu")


def test_a_missing_shard_is_named(folder: Path) -> None:
    tiny.build(dtype=torch.float32).save_pretrained(folder, max_shard_size="20KB")
    shard = sorted(folder.glob("model-*.safetensors"))[1]
    shard.unlink()
    with pytest.raises(MissingError, match=shard.name):
        TransformersEngine.load(folder, device="cpu")


def test_pickled_weights_are_told_apart_from_none(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(MissingError, match=r"found pytorch_model.bin: convert to safetensors"):
        TransformersEngine.load(folder, device="cpu")


def _cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _damage_header(content: bytes) -> bytes:
    return content[:20] + b"\xff" * 20 + content[40:]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_cut, r"expected \d+ bytes, it has \d+"),
        (lambda content: content + b"\0", r"expected \d+ bytes, it has \d+"),
        (_damage_header, "damaged safetensors header"),
        (lambda _content: b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (lambda _content: b"", "no whole safetensors file"),
        (lambda _content: (2).to_bytes(8, "little") + b"[]", "damaged safetensors header"),
    ],
)
def test_damaged_weights_are_named_before_torch_sees_them(
    folder: Path, damage: Callable[[bytes], bytes], message: str
) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(damage(weights.read_bytes()))
    with pytest.raises(InputError, match=message) as caught:
        check_safetensors(weights)
    assert str(weights) in str(caught.value)
    with pytest.raises(InputError, match=message):
        TransformersEngine.load(folder, device="cpu")


def test_weights_that_lack_a_tensor_are_refused_instead_of_made_up(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["num_hidden_layers"] = 3
    config["layer_types"] = ["full_attention"] * 3
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"lack \d+ tensors .*layers\.2\."):
        TransformersEngine.load(folder, device="cpu")


@pytest.mark.parametrize("content", ["{", "[]", '{"model_type": "nonesuch"}'])
def test_a_config_that_means_nothing_is_refused(folder: Path, content: str) -> None:
    (folder / "config.json").write_text(content)
    with pytest.raises(InputError, match=str(folder)):
        TransformersEngine.load(folder, device="cpu")


def test_a_damaged_tokenizer_is_refused(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match="cannot load the tokenizer"):
        TransformersEngine.load(folder, device="cpu")


def test_an_unknown_dtype_names_the_nearest(folder: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'bfloat16'"):
        TransformersEngine.load(folder, dtype="bfloat")


def test_cuda_without_a_gpu_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="torch sees no GPU"):
        TransformersEngine.load(folder, device="cuda")


def test_a_thought_that_the_template_opens_keeps_its_tag() -> None:
    """Without it a thought that the deadline cut would be read as an answer."""

    async def main(template_end: str) -> str:
        engine = TransformersEngine.load(TINY_MODEL, device="cpu")
        engine._tokenizer.chat_template += template_end
        async with engine:
            return (await engine.sample(PROMPT, quick(0, max_new_tokens=3), timeout_s=60)).text

    assert trio.run(main, "<think>\n").startswith("<think>")
    assert not trio.run(main, "").startswith("<think>")


TOOL = Tool(name="python", description="Runs code.", parameters='{"type": "object", "properties": {}}')


def spell(engine: TransformersEngine, text: str) -> None:
    """Make the engine's model write a text and the end token, whatever it is asked; for one attempt."""
    ids = [*ids_of(engine._tokenizer, text), engine._tokenizer.eos_token_id]
    left = iter(ids)

    def write(_module: Any, _args: Any, _kwargs: Any, output: Any) -> None:
        output.logits[:, -1, next(left, ids[-1])] = 1e6

    engine._worker._decoder._batch._model.register_forward_hook(write, with_kwargs=True)


def sample_spelt(text: str, prompt: Prompt = PROMPT, *, template_end: str = "", **settings: Any) -> Sample:
    async def main() -> Sample:
        async with TransformersEngine.load(TINY_MODEL, device="cpu") as engine:
            engine._tokenizer.chat_template += template_end
            spell(engine, text)
            params = SamplingParams(**{"max_new_tokens": 500, **settings.pop("params", {})})
            return await engine.sample(prompt, params, timeout_s=60, **settings)

    return trio.run(main)


def test_characters_of_several_tokens_are_shown_whole_and_once() -> None:
    text = "na\u00efve \u6f22\u5b57 \U0001f642\U0001f468\u200d\U0001f469 x\u0305."
    watcher = Watcher()
    sample = sample_spelt(text, on_chunk=watcher)
    assert (sample.text, sample.finish) == (text, FinishReason.STOP)
    assert watcher.text == text
    assert not any("\ufffd" in chunk.text for chunk in watcher.chunks)
    assert all(chunk.text for chunk in watcher.chunks[:-1])  # the last shows the end token
    assert watcher.num_tokens == sample.num_tokens > len(watcher.chunks)
    assert all(len(chunk.token_stats) == chunk.num_tokens for chunk in watcher.chunks)


def test_a_stop_text_may_end_within_a_token_and_cost_the_tokens_that_were_drawn() -> None:
    whole = sample_spelt("so 12 + 30 = 42, and no more")
    sample = sample_spelt("so 12 + 30 = 42, and no more", params={"stop": ("30 =",)})
    assert (sample.text, sample.finish) == ("so 12 + 30 =", FinishReason.STOP)
    assert sample.num_tokens == len(sample.token_stats) < whole.num_tokens
    sample = sample_spelt("\u6f22\u5b57\u6f22", params={"stop": ("\u5b57",)})
    assert sample.text == "\u6f22\u5b57"


def test_a_text_cut_within_a_character_keeps_what_stands_for_it_only_at_its_own_end() -> None:
    """At max_new_tokens the sample's text is all that its tokens say; the chunks say the same."""
    watcher = Watcher()
    sample = sample_spelt("ab\u6f22", params={"max_new_tokens": 4}, on_chunk=watcher)
    assert (sample.text, sample.finish) == ("ab\ufffd", FinishReason.LENGTH)
    assert watcher.text == sample.text


def test_calls_are_taken_from_the_text_if_the_prompt_offers_tools() -> None:
    text = 'Let us see.\n<tool_call>\n{"name": "python", "arguments": {"code": "2"}}\n</tool_call>'
    form = "{% if tools %}{{ tools | tojson }}{% endif %}"
    sample = sample_spelt(text, Prompt(PROMPT.messages, (TOOL,)), template_end=form)
    call = ToolCall(id="call_0", name="python", arguments='{"code": "2"}')
    assert (sample.text, sample.tool_calls) == ("Let us see.", (call,))
    assert sample_spelt(text, template_end=form).text == text
    cut = sample_spelt(text, Prompt(PROMPT.messages, (TOOL,)), template_end=form, params={"max_new_tokens": 9})
    assert cut.tool_calls == ()


def test_a_template_without_tools_refuses_them() -> None:
    with pytest.raises(EngineError, match="no form for tools"):
        sample_spelt("x", Prompt(PROMPT.messages, (TOOL,)))


@pytest.mark.parametrize("thought", ["", "<think>\n"])
def test_a_turn_gone_on_with_ends_as_the_whole_one_would(thought: str) -> None:
    """A thought that the template opens is opened once, and its tag stands once in the text."""
    end = "{% if add_generation_prompt %}" + thought + "{% endif %}"
    prompt = tiny.chat("What is 12 + 30?\nPlease reason step by step, and put your final answer within \\boxed{}.")

    async def main() -> None:
        async with TransformersEngine.load(TINY_MODEL, device="cpu", dtype="float32") as engine:
            engine._tokenizer.chat_template += end

            async def greedy(prompt: Prompt, num_tokens: int = 60) -> str:
                params = SamplingParams(temperature=0, max_new_tokens=num_tokens)
                return (await engine.sample(prompt, params, timeout_s=60)).text

            whole = await greedy(prompt)
            assert whole.startswith("<think>") == bool(thought)
            num_opening = len("<think>") if thought else 0
            ids = ids_of(engine._tokenizer, whole[num_opening:])
            for num_first in range(1, len(ids), 5):
                first = whole[:num_opening] + engine._decode(ids[:num_first])
                turn = Prompt((*prompt.messages, Message("assistant", first)))
                rest = await greedy(turn, len(ids) - num_first + 4)  # some more, as it may be split otherwise
                assert (first + rest).startswith(whole)

    trio.run(main)


def test_a_deadline_shows_nothing_more_to_a_watcher_that_was_left() -> None:
    model = tiny.build(endless=True, context=CONTEXT)
    before_forward(model, lambda _ids: time.sleep(0.005))

    async def act(engine: TransformersEngine) -> None:
        for timeout_s in longer_and_longer(0.1):
            watcher, later = Watcher(), Watcher()
            await engine.sample(PROMPT, endless(), timeout_s=timeout_s, on_chunk=watcher)
            num_chunks = len(watcher.chunks)
            await engine.sample(PROMPT, quick(), timeout_s=PATIENCE_S, on_chunk=later)
            assert later.chunks
            assert len(watcher.chunks) <= num_chunks + 1  # of the pass that was under way
            if num_chunks > 1:
                return
        pytest.fail("no token came in any time")

    run(act, model)


def test_watched_attempts_survive_running_out_of_memory() -> None:
    """Each goes on after its tokens, and no chunk is shown twice."""
    model = tiny.build()

    def limit(ids: torch.Tensor) -> None:
        if ids.shape[0] > 2:
            raise torch.OutOfMemoryError("no memory for more than two rows")

    async def act(engine: TransformersEngine) -> dict[int, tuple[str, str]]:
        texts: dict[int, tuple[str, str]] = {}

        async def one(seed: int) -> None:
            watcher = Watcher()
            sample = await engine.sample(PROMPT, quick(seed, max_new_tokens=20), timeout_s=60, on_chunk=watcher)
            texts[seed] = sample.text, watcher.text

        async with trio.open_nursery() as nursery:
            for seed in range(5):
                nursery.start_soon(one, seed)
        return texts

    calm = run(act, model)
    before_forward(model, limit)
    assert run(act, model) == calm
    assert all(text == shown for text, shown in calm.values())


def test_attempts_nobody_watches_are_read_once() -> None:
    num_reads = 0

    async def act(engine: TransformersEngine) -> Sample:
        decode = engine._decode

        def count(ids: Any) -> str:
            nonlocal num_reads
            num_reads += 1
            return decode(ids)

        engine._decode = count  # type: ignore[method-assign]
        return await engine.sample(PROMPT, quick(1, max_new_tokens=30), timeout_s=60)

    assert run(act, tiny.build(endless=True)).num_tokens == 30
    assert num_reads == 1


class Lent:
    """A tokenizer that notices when two threads use it at once."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer, self.chat_template = tokenizer, tokenizer.chat_template
        self.eos_token_id, self.apply_chat_template = tokenizer.eos_token_id, tokenizer.apply_chat_template
        self.num_users, self.most_users = 0, 0

    def _use(self, use: Callable[..., Any], *args: Any, **settings: Any) -> Any:
        self.num_users += 1
        self.most_users = max(self.most_users, self.num_users)
        time.sleep(0.001)
        self.num_users -= 1
        return use(*args, **settings)

    def __call__(self, *args: Any, **settings: Any) -> Any:
        return self._use(self.tokenizer, *args, **settings)

    def decode(self, *args: Any, **settings: Any) -> Any:
        return self._use(self.tokenizer.decode, *args, **settings)


def test_no_two_threads_use_the_tokenizer_at_once() -> None:
    """Fast tokenizers may raise "Already borrowed"."""
    tokenizer = Lent(tiny.tokenizer())

    async def main() -> None:
        model = tiny.build(endless=True, context=CONTEXT)
        async with TransformersEngine(model, tokenizer) as engine, trio.open_nursery() as nursery:
            watched = partial(engine.sample, PROMPT, quick(max_new_tokens=40), timeout_s=60, on_chunk=Watcher())
            nursery.start_soon(watched)
            for seed in range(20):
                await engine.sample(PROMPT, quick(seed, max_new_tokens=1), timeout_s=60)

    trio.run(main)
    assert tokenizer.most_users == 1


def ids_of(tokenizer: Any, text: str) -> tuple[int, ...]:
    return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])


def test_a_turn_gone_on_with_keeps_the_space_before_its_next_word() -> None:
    tokenizer = tiny.byte_fallback_tokenizer()
    tokenizer.chat_template = tiny.CHATML
    engine = TransformersEngine(tiny.build(), tokenizer)
    attempt = Attempt(prompt_ids=ids_of(tokenizer, "a b"), params=SamplingParams(), max_new_tokens=1)
    for so_far, expected in (("", "a"), ("a b", " a")):
        transcript = engine._transcript(attempt, Rendered("a b", so_far))
        assert transcript.add(ids_of(tokenizer, "a"), is_last=True) == expected
