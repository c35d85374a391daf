from __future__ import annotations

import json
import math
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import trio

from kit.budget import Budget, BudgetConfig
from kit.engines.transformers.engine import TransformersEngine
from kit.engines.transformers.prefix import MIN_SAVED_TOKENS
from kit.engines.trm.decoding import RecursiveAttempt, RecursiveDecoder
from kit.engines.trm.engine import TRMEngine
from kit.errors import EngineError, InputError, MissingError
from kit.problem import Problem
from kit.sampling import FinishReason, Sample, SamplingParams
from kit.solver.config import SamplingChoice, SolverConfig
from kit.solver.solver import Solver
from kit.trm import checkpoint
from kit.trm.language_model import RecursiveLM
from tests.engines import tiny
from tests.engines.contract import EngineContract, Subject, quick
from tests.oracles import generation_reference as reference
from tests.trm import tiny_trm

PROMPT = tiny.chat("what is 1+1?")
CONTEXT = 4096


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    assert not [thread for thread in threading.enumerate() if thread.name == "kit-decode"]


def build(*, seed: int = 0, endless: bool = False, context: int = 512, **config: Any) -> RecursiveLM:
    backbone = tiny.build(endless=endless, context=context, seed=seed)
    return RecursiveLM(backbone, tiny_trm.trm_for(backbone, **config)).eval()


class TestContract(EngineContract):
    @pytest.fixture(params=tiny_trm.FORMS)
    async def subject(self, request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
        model = build(endless=True, context=CONTEXT, form=request.param, depth=2).to(tiny.DEVICE)
        async with TRMEngine(model, tiny.tokenizer(), max_batch=3, max_depth=3) as engine:
            bad = tiny.chat("a" * (CONTEXT + 1))
            subject = Subject(engine=engine, prompt=PROMPT, bad_prompt=bad, num_slots=3, goes_on=True)
            yield replace(subject, patience_s=20.0)


def sample_all(engine: TransformersEngine, params: list[SamplingParams]) -> list[Sample | EngineError]:
    """Sample concurrently and close the engine; results in the order of the parameters."""
    results: dict[int, Sample | EngineError] = {}

    async def one(index: int) -> None:
        try:
            results[index] = await engine.sample(PROMPT, params[index], timeout_s=60)
        except EngineError as error:
            results[index] = error

    async def main() -> None:
        async with engine, trio.open_nursery() as nursery:
            for index in range(len(params)):
                nursery.start_soon(one, index)

    trio.run(main)
    return [results[index] for index in range(len(params))]


class AtDepth:
    """A RecursiveLM as the reference generates from it: the whole sequence, no cache, one depth."""

    def __init__(self, model: RecursiveLM, depth: int) -> None:
        self.model, self.depth = model, depth

    def __call__(self, *, input_ids: torch.Tensor, use_cache: bool) -> Any:
        assert not use_cache
        return self.model(input_ids, depth=self.depth)


@pytest.mark.parametrize("form", tiny_trm.FORMS)
def test_rows_of_different_depths_equal_one_by_one_generation_without_a_cache(form: str) -> None:
    model, tokenizer = build(form=form), tiny.tokenizer()
    prompt_ids = tokenizer("<|im_start|>user\nwhat is 1+1?<|im_end|><|im_start|>")["input_ids"]
    params = [
        quick(seed, max_new_tokens=9, top_p=0.9, depth=depth) for seed, depth in enumerate([3, 0, 5, None, 3, 1, 2])
    ]
    samples = sample_all(TRMEngine(model, tokenizer, max_batch=3, depth=2, max_depth=5), params)
    for sample, asked in zip(samples, params, strict=True):
        depth = 2 if asked.depth is None else asked.depth
        expected = reference.generate(AtDepth(model, depth), prompt_ids, asked, eos_ids={tiny.EOS_ID}, context=512)
        assert isinstance(sample, Sample)
        assert sample.text == tokenizer.decode(expected.token_ids, skip_special_tokens=True)
        assert sample.num_tokens == len(expected.token_ids)
        assert sample.mean_logprob == pytest.approx(expected.mean_logprob, abs=1e-9)
        assert sample.mean_entropy == pytest.approx(expected.mean_entropy, abs=1e-9)
        assert sample.depth == depth


@pytest.mark.parametrize("form", tiny_trm.FORMS)
def test_what_prompts_begin_with_alike_is_shared_by_rows_of_one_depth(form: str) -> None:
    model, common = build(form=form), [5 * index % tiny.EOS_ID for index in range(MIN_SAVED_TOKENS)]
    decoder = RecursiveDecoder(model, eos_ids=frozenset({tiny.EOS_ID}), max_depth=3)

    def attempt(seed: int, depth: int) -> RecursiveAttempt:
        params = quick(seed, max_new_tokens=6)
        prompt_ids = (*common, *range(1, 2 + seed))
        return RecursiveAttempt(prompt_ids=prompt_ids, params=params, max_new_tokens=6, depth=depth)

    attempts = [attempt(seed, depth) for seed, depth in enumerate([2, 0, 2, 0, 3])]
    decoder.admit(attempts[:4])
    decoder.step()
    decoder.admit(attempts[4:])
    while decoder.attempts:
        decoder.step()
    for one in attempts:
        expected = reference.generate(
            AtDepth(model, one.depth), one.prompt_ids, one.params, eos_ids={tiny.EOS_ID}, context=512
        )
        assert [token.id for token in one.tokens] == expected.token_ids
        mean_entropy = math.fsum(token.entropy for token in one.tokens) / len(one.tokens)
        assert mean_entropy == pytest.approx(expected.mean_entropy, abs=1e-9)


def test_the_halting_score_is_the_mean_over_the_tokens_drawn() -> None:
    model, tokenizer = build(), tiny.tokenizer()
    prompt_ids = tokenizer("<|im_start|>user\nwhat is 1+1?<|im_end|><|im_start|>")["input_ids"]
    samples = sample_all(TRMEngine(model, tokenizer), [quick(7, max_new_tokens=6, depth=depth) for depth in (0, 3, 3)])
    assert samples[0].halting is None
    expected = reference.generate(
        AtDepth(model, 3), prompt_ids, quick(7, max_new_tokens=6), eos_ids={tiny.EOS_ID}, context=512
    )
    output = model(torch.tensor([[*prompt_ids, *expected.token_ids]]), depth=3)
    drawn_from = output.halting_logit[0, len(prompt_ids) - 1 : -1]
    for sample in samples[1:]:
        assert sample.halting == pytest.approx(drawn_from.sigmoid().mean().item(), abs=1e-9)
        assert [token.halting for token in sample.token_stats] == pytest.approx(drawn_from.sigmoid().tolist(), abs=1e-9)


def test_an_untrained_recursion_writes_what_its_backbone_writes() -> None:
    model, tokenizer = build(is_trained=False), tiny.tokenizer()
    params = [quick(seed, max_new_tokens=20, depth=seed % 4) for seed in range(6)]
    # alone, as rounding depends on how many rows there are, and that on when the calls arrive
    bare = [sample_all(TransformersEngine(model.backbone, tokenizer), [each])[0] for each in params]
    recursive = [sample_all(TRMEngine(model, tokenizer), [each])[0] for each in params]
    assert [sample.text for sample in recursive] == [sample.text for sample in bare]
    assert [sample.mean_logprob for sample in recursive] == [sample.mean_logprob for sample in bare]


def test_tokens_may_stop_early_and_the_gate_may_skip_them() -> None:
    """Neither may make a text depend on its neighbours."""
    for config in ({"converged_below": 0.3, "damped": True}, {"gate_entropy": 1.0}):
        model, tokenizer = build(**config), tiny.tokenizer()
        params = [quick(seed, max_new_tokens=10, depth=8) for seed in range(4)]
        together = sample_all(TRMEngine(model, tokenizer), params)
        apart = [sample_all(TRMEngine(model, tokenizer), [each])[0] for each in params]
        assert [sample.text for sample in together] == [sample.text for sample in apart]


@pytest.mark.parametrize("form", ["anchor", "states"])
def test_rows_at_depth_zero_make_no_keys_until_a_deeper_row_joins_them(form: str) -> None:
    """Nor after it has left; and the text of neither depends on the other."""
    model, tokenizer = build(form=form, endless=True), tiny.tokenizer()
    made: list[list[int]] = []
    depths_now: list[int] = []

    def remember_depths(_module: Any, _args: Any, settings: dict[str, Any]) -> None:
        depths_now[:] = settings["depth"]

    model.register_forward_pre_hook(remember_depths, with_kwargs=True)
    key_value = model.trm.net.blocks[0].attention.key_value
    key_value.register_forward_hook(lambda *_: made.append(list(depths_now)))
    params = [quick(seed, max_new_tokens=length, depth=0) for seed, length in enumerate([60, 4, 24])]
    assert sample_all(TRMEngine(model, tokenizer, max_depth=2, depth=2), params)
    assert made == []
    # two rows at once, in any order: the first outlasts the others, so the deep one has a shallow neighbour
    mixed = [params[0], params[1], quick(5, max_new_tokens=6, depth=2), params[2]]
    together = sample_all(TRMEngine(model, tokenizer, max_batch=2, max_depth=2, depth=2), mixed)
    assert [0, 2] in [sorted(depths) for depths in made]
    assert all(2 in depths for depths in made)
    for sample, each in zip(together, mixed, strict=True):
        (alone,) = sample_all(TRMEngine(model, tokenizer, max_depth=2, depth=2), [each])
        assert isinstance(sample, Sample)
        assert isinstance(alone, Sample)
        assert (sample.text, sample.num_tokens) == (alone.text, alone.num_tokens)
        assert sample.mean_logprob == pytest.approx(alone.mean_logprob, abs=1e-9)


def test_an_engine_makes_one_decoder() -> None:
    made: list[Any] = []

    class Counting(TRMEngine):
        def _make_decoder(self, model: Any, *, eos_ids: frozenset[int]) -> Any:
            made.append(eos_ids)
            return super()._make_decoder(model, eos_ids=eos_ids)

    Counting(build(), tiny.tokenizer()).close()
    assert made == [frozenset({tiny.EOS_ID})]


def test_running_out_of_memory_changes_no_text_and_no_halting_score() -> None:
    model, tokenizer = build(form="states"), tiny.tokenizer()
    params = [quick(seed, max_new_tokens=12, depth=seed % 3) for seed in range(6)]
    calm = sample_all(TRMEngine(model, tokenizer, max_depth=2, depth=2), params)

    def limit(_module: Any, _args: Any, kwargs: Any) -> None:
        if len(kwargs["input_ids"]) > 2:
            raise torch.OutOfMemoryError("no memory for more than two rows")

    model.register_forward_pre_hook(limit, with_kwargs=True)
    squeezed = sample_all(TRMEngine(model, tokenizer, max_depth=2, depth=2), params)
    assert [sample.text for sample in squeezed] == [sample.text for sample in calm]
    for one, other in zip(squeezed, calm, strict=True):
        assert one.halting == (None if other.halting is None else pytest.approx(other.halting, abs=1e-9))


def test_nan_in_the_recursion_fails_the_samples_that_recurse_and_no_other() -> None:
    model = build()
    with torch.no_grad():
        model.trm.out.weight[0, 0] = math.nan
    broken, healthy = sample_all(TRMEngine(model, tiny.tokenizer()), [quick(1, depth=2), quick(1, depth=0)])
    assert (broken.finish, broken.num_tokens) == (FinishReason.FAILED, 0)
    assert "NaN" in broken.error
    assert healthy.error == ""


def test_a_depth_beyond_the_engines_is_told() -> None:
    (error,) = sample_all(TRMEngine(build(), tiny.tokenizer(), max_depth=4), [quick(depth=5)])
    assert isinstance(error, EngineError)
    assert "depth 5 is beyond this engine's max_depth, 4" in str(error)


@pytest.mark.parametrize("depth", [-1, 65])
def test_a_depth_that_makes_no_sense_is_refused_before_any_engine_sees_it(depth: int) -> None:
    with pytest.raises(InputError, match=r"depth must be in \[0, 64\]"):
        SamplingParams(depth=depth)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"depth": 11}, "depth must be at most max_depth, 10, got 11"),
        ({"max_depth": -1}, "depth must be an integer"),
    ],
    ids=str,
)
def test_engine_depths_that_make_no_sense_are_refused(settings: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        TRMEngine(build(), tiny.tokenizer(), **settings)


def test_the_approximate_cache_is_not_served() -> None:
    with pytest.raises(InputError, match="needs cache='exact'"):
        TRMEngine(build(form="states", cache="last_step"), tiny.tokenizer())


def test_a_prompt_beyond_the_context_is_told_with_both_numbers() -> None:
    (error,) = sample_all(TRMEngine(build(context=10), tiny.tokenizer()), [quick()])
    assert isinstance(error, EngineError)
    assert "20 tokens" in str(error)
    assert "holds 10" in str(error)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model = build().float()
    model.backbone.save_pretrained(tmp_path / "backbone")
    tiny.tokenizer().save_pretrained(tmp_path / "backbone")
    checkpoint.save(model.trm, tmp_path / "trm", backbone_folder=tmp_path / "backbone")
    return tmp_path / "trm"


def test_a_saved_pair_loads_and_samples(folder: Path) -> None:
    (loaded,) = sample_all(TRMEngine.load(folder, device="cpu", dtype="float64"), [quick(4, depth=3)])
    (expected,) = sample_all(TRMEngine(build().float().double(), tiny.tokenizer()), [quick(4, depth=3)])
    assert loaded.text == expected.text


def test_the_backbone_may_lie_elsewhere(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "backbone").rename(tmp_path / "moved")
    with pytest.raises(MissingError, match="names its backbone as"):
        TRMEngine.load(folder, device="cpu")
    TRMEngine.load(folder, device="cpu", backbone=tmp_path / "moved").close()


def _another_backbone(folder: Path) -> None:
    tiny.build(seed=9, dtype=torch.float32).save_pretrained(folder.parent / "backbone")


def _a_wider_backbone(folder: Path) -> None:
    tiny.build(dtype=torch.float32, context=512).save_pretrained(folder.parent / "backbone")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "hidden_size": 64}))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [(_another_backbone, "wrong backbone: the weights"), (_a_wider_backbone, "cannot load the TRM")],
)
def test_a_wrong_backbone_is_refused(folder: Path, spoil: Callable[[Path], None], message: str) -> None:
    spoil(folder)
    with pytest.raises(InputError, match=message):
        TRMEngine.load(folder, device="cpu")


def test_the_solver_draws_at_the_depth_it_is_told() -> None:
    """R5 from above: a rung of the ladder is a setting of the solver's sampling."""
    depths: list[int] = []

    class Watching(TRMEngine):
        async def sample(self, *args: Any, **settings: Any) -> Sample:
            sample = await super().sample(*args, **settings)
            depths.append(sample.depth or 0)
            return sample

    async def main() -> None:
        begun_s = trio.current_time()
        async with Watching(build(), tiny.tokenizer()) as engine:
            for depth in (3, 5, 10):
                sampling = SamplingChoice(max_new_tokens=4, depth=depth)
                # A random model may end at once, which the solver takes for broken and tries again.
                limits = BudgetConfig(limit_s=60, reserve_s=1, floor_s=0, stretch=1, num_problems=30)
                budget = Budget(limits, lambda: trio.current_time() - begun_s)
                solver = Solver(engine, budget, None, SolverConfig(prompt="plain", sampling=sampling, width=4))
                await solver.solve(Problem("1", f"what is 1+{depth}?"))

    trio.run(main)
    assert set(depths) == {3, 5, 10}
