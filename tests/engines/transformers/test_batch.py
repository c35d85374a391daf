"""The running batch and the decoder, turned by hand: no thread, every join and departure is chosen."""

from __future__ import annotations

import dataclasses
import math
import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.engines.transformers.batch import Batch
from kit.engines.transformers.decoding import Attempt, Decoder
from kit.engines.transformers.token_sampling import NUM_LIKELIEST, draw, presence_penalties, settings_of, warp
from kit.errors import InputError
from kit.sampling import FinishReason, SamplingParams
from tests.engines import tiny
from tests.oracles import generation_reference as reference

KINDS = ("qwen2", "llama", "gpt2")
CPU = torch.device("cpu")

params_strategy = st.builds(
    SamplingParams,
    seed=st.integers(0, 2**40),
    temperature=st.sampled_from([0.3, 0.8, 1.0, 2.5]),
    top_p=st.sampled_from([0.05, 0.5, 0.9, 1.0]),
    top_k=st.sampled_from([0, 1, 3, 500]),
    min_p=st.sampled_from([0.0, 0.05, 0.4]),
)


def ids_of(length: int, *, seed: int = 0) -> tuple[int, ...]:
    generator = random.Random(1000 * length + seed)
    return tuple(generator.randrange(tiny.EOS_ID) for _ in range(length))


def attempt(length: int, **params: float) -> Attempt:
    params = {"max_new_tokens": 12, "temperature": 1.0, **params}
    return Attempt(
        prompt_ids=ids_of(length),
        params=SamplingParams(**params),
        max_new_tokens=int(params["max_new_tokens"]),
    )


def decoder(kind: str = "qwen2", **model: object) -> Decoder:
    return Decoder(tiny.build(kind, **model), eos_ids=frozenset({tiny.EOS_ID}))


def run_to_the_end(decoder: Decoder) -> None:
    for _ in range(200):
        if not decoder.attempts:
            return
        decoder.step()
    pytest.fail("rows did not end")


def assert_equals_reference(model: object, attempts: list[Attempt]) -> None:
    for one in attempts:
        expected = reference.generate(
            model, one.prompt_ids, one.params, eos_ids={tiny.EOS_ID}, context=len(one.prompt_ids) + 12
        )
        assert [token.id for token in one.tokens] == expected.token_ids
        mean_logprob = math.fsum(token.logprob for token in one.tokens) / len(one.tokens)
        mean_entropy = math.fsum(token.entropy for token in one.tokens) / len(one.tokens)
        assert mean_logprob == pytest.approx(expected.mean_logprob, abs=1e-10)
        assert mean_entropy == pytest.approx(expected.mean_entropy, abs=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_ragged_rows_that_join_and_leave_midway_equal_one_by_one_generation(kind: str) -> None:
    model = tiny.build(kind)
    decoder = Decoder(model, eos_ids=frozenset({tiny.EOS_ID}))
    first = [attempt(3, seed=1), attempt(17, seed=2, max_new_tokens=4), attempt(8, temperature=0.0)]
    shorter = [attempt(2, seed=4, top_p=0.7), attempt(5, seed=5, top_k=3), attempt(2, seed=6)]
    longer = [attempt(40, seed=7, min_p=0.1), attempt(1, temperature=0.0, seed=8)]
    left_midway = attempt(9, seed=9, max_new_tokens=100)
    decoder.admit([*first, left_midway])
    decoder.step()
    decoder.step()
    decoder.admit(shorter)
    decoder.step()
    left_midway.is_cancelled = True
    decoder.drop_cancelled()
    decoder.admit(longer)
    run_to_the_end(decoder)
    assert_equals_reference(model, [*first, *shorter, *longer])
    assert len(left_midway.tokens) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_greedy_rows_equal_one_by_one_generation_token_for_token(kind: str) -> None:
    model = tiny.build(kind, seed=3)
    decoder = Decoder(model, eos_ids=frozenset({tiny.EOS_ID}))
    attempts = [attempt(length, temperature=0.0) for length in (1, 30, 7)]
    decoder.admit(attempts)
    run_to_the_end(decoder)
    assert_equals_reference(model, attempts)


@settings(max_examples=8)
@given(data=st.data())
def test_whatever_the_schedule_a_row_equals_one_by_one_generation(data: st.DataObject) -> None:
    model = tiny.build("qwen2", seed=1)
    decoder = Decoder(model, eos_ids=frozenset({tiny.EOS_ID}))
    attempts = []
    for _ in range(data.draw(st.integers(1, 4))):
        arrivals = [
            Attempt(prompt_ids=ids_of(length), params=params, max_new_tokens=limit)
            for length, params, limit in data.draw(
                st.lists(st.tuples(st.integers(1, 20), params_strategy, st.integers(1, 6)), min_size=1, max_size=3)
            )
        ]
        decoder.admit(arrivals)
        attempts += arrivals
        for _ in range(data.draw(st.integers(0, 4))):
            if decoder.attempts:
                decoder.step()
    run_to_the_end(decoder)
    for one in attempts:
        expected = reference.generate(
            model,
            one.prompt_ids,
            one.params,
            eos_ids={tiny.EOS_ID},
            context=len(one.prompt_ids) + one.max_new_tokens,
        )
        assert [token.id for token in one.tokens] == expected.token_ids


def test_equal_prompts_are_prefilled_once_and_still_differ_by_seed() -> None:
    model = tiny.build("qwen2")
    shapes: list[tuple[int, ...]] = []
    model.register_forward_pre_hook(
        lambda _module, _args, kwargs: shapes.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    decoder = Decoder(model, eos_ids=frozenset({tiny.EOS_ID}))
    attempts = [attempt(11, seed=1), attempt(4, seed=9), attempt(11, seed=2), attempt(11, seed=3)]
    decoder.admit(attempts)
    assert shapes == [(2, 11)]
    run_to_the_end(decoder)
    assert_equals_reference(model, attempts)
    assert len({tuple(one.tokens) for one in attempts}) == 4


def test_cache_shrinks_to_the_longest_row_left() -> None:
    decoder_ = decoder(endless=True)
    long, short = attempt(60, max_new_tokens=2), attempt(5, max_new_tokens=20)
    decoder_.admit([long, short])
    assert decoder_.num_columns == 60
    decoder_.step()
    decoder_.step()
    assert decoder_.attempts == (short,)
    assert decoder_.num_columns == len(short.prompt_ids) + len(short.tokens)


def test_a_cancelled_row_runs_no_further_step() -> None:
    decoder_ = decoder(endless=True)
    gone, stays = attempt(4), attempt(6)
    decoder_.admit([gone, stays])
    decoder_.step()
    gone.is_cancelled = True
    decoder_.drop_cancelled()
    decoder_.step()
    assert decoder_.attempts == (stays,)
    assert (len(gone.tokens), len(stays.tokens)) == (1, 2)


def test_finished_rows_cost_no_forward_pass() -> None:
    model = tiny.build(endless=True)
    rows: list[int] = []
    model.register_forward_pre_hook(
        lambda _module, _args, kwargs: rows.append(kwargs["input_ids"].shape[0]), with_kwargs=True
    )
    decoder_ = Decoder(model, eos_ids=frozenset())
    decoder_.admit([attempt(3, max_new_tokens=1), attempt(5, max_new_tokens=3)])
    run_to_the_end(decoder_)
    assert rows == [2, 1, 1]  # the prefill, then only what the second row needs


def test_an_interrupted_attempt_goes_on_as_if_nothing_had_happened() -> None:
    model = tiny.build()
    decoder_ = Decoder(model, eos_ids=frozenset({tiny.EOS_ID}))
    attempts = [attempt(6, seed=21), attempt(9, seed=22)]
    decoder_.admit(attempts)
    decoder_.step()
    decoder_.step()
    decoder_.clear()
    decoder_.admit([one for one in attempts if one.finish is None])
    run_to_the_end(decoder_)
    assert_equals_reference(model, attempts)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_row_with_broken_logits_fails_alone(bad: float) -> None:
    model = tiny.build()

    broken, healthy = attempt(4, seed=1, top_p=0.9), attempt(4, seed=2)
    decoder_ = Decoder(model, eos_ids=frozenset({tiny.EOS_ID}))
    decoder_.admit([broken, healthy])
    decoder_.step()
    with torch.inference_mode():
        decoder_._batch.logits_BV[0, 5] = bad
    decoder_.step()
    run_to_the_end(decoder_)
    assert broken.finish is FinishReason.FAILED
    assert "NaN or infinite after 1 new tokens" in broken.error
    assert_equals_reference(model, [healthy])


def test_minus_infinity_for_a_forbidden_token_is_no_fault() -> None:
    logits_BV = torch.tensor([[0.0, -math.inf, 1.0]])
    drawn = draw(logits_BV, settings_of([SamplingParams()], vocab_size=3, device=CPU), torch.tensor([0.999999]))
    assert drawn.token_B.tolist() == [2]
    assert math.isfinite(drawn.entropy_B.item())


@settings(max_examples=150)
@given(
    logits=st.lists(st.integers(-12, 12).map(lambda n: n / 4), min_size=2, max_size=12),
    params=params_strategy,
    neighbour=params_strategy,
    uniform=st.floats(0, 1, exclude_max=True),
)
def test_warps_equal_the_definition_whoever_the_neighbour_is(
    logits: list[float], params: SamplingParams, neighbour: SamplingParams, uniform: float
) -> None:
    """Multiples of a quarter make ties common; both rows see the same logits."""
    logits_BV = torch.tensor([logits, logits], dtype=torch.float64)
    rows = settings_of([params, neighbour], vocab_size=len(logits), device=CPU)
    weight_V = warp(logits_BV, rows)[0]
    expected = reference.warped_probabilities(logits, params)
    assert (weight_V / weight_V.sum()).tolist() == pytest.approx(expected, abs=1e-12)
    drawn = draw(logits_BV, rows, torch.tensor([uniform, uniform], dtype=torch.float64)).token_B[0].item()
    masses = [math.fsum(expected[: token + 1]) for token in range(len(expected))]
    assert expected[drawn] > 0
    assert masses[drawn] - expected[drawn] - 1e-12 <= uniform <= masses[drawn] + 1e-12


def full_sort_kept(logits_V: torch.Tensor, params: SamplingParams) -> torch.Tensor:
    """Which tokens top-k and top-p keep, from the whole vocabulary in falling order."""
    scaled_V = (logits_V - logits_V.max()) / params.temperature
    sorted_V = scaled_V.sort(descending=True).values
    in_top_k_V = sorted_V >= sorted_V[(params.top_k or len(sorted_V)) - 1]
    weight_V = sorted_V.exp().double() * in_top_k_V
    before_V = weight_V.cumsum(0) - weight_V
    is_kept_V = in_top_k_V & ((before_V < params.top_p * weight_V.sum()) | (params.top_p == 1))
    kept_V: torch.Tensor = scaled_V >= sorted_V[is_kept_V.sum() - 1]
    return kept_V


@settings(max_examples=60)
@given(
    data=st.data(),
    seed=st.integers(0, 2**30),
    vocab_size=st.sampled_from([NUM_LIKELIEST - 1, NUM_LIKELIEST, NUM_LIKELIEST + 1, 3 * NUM_LIKELIEST]),
    has_ties=st.booleans(),
)
def test_a_nucleus_is_that_of_the_full_sort_on_peaked_and_on_flat_logits(
    data: st.DataObject, seed: int, vocab_size: int, has_ties: bool
) -> None:
    """Scales from flat, where no nucleus is among the likeliest, to one token with all of the mass."""
    generator = torch.Generator().manual_seed(seed)
    scales = data.draw(st.lists(st.sampled_from([0.0, 0.01, 1.0, 4.0, 30.0]), min_size=1, max_size=4))
    rows = [
        SamplingParams(
            temperature=data.draw(st.sampled_from([0.0, 0.6, 1.0])),
            top_p=data.draw(st.sampled_from([0.1, 0.9, 0.95, 0.9999, 1.0])),
            top_k=data.draw(st.sampled_from([0, 0, 1, 20, NUM_LIKELIEST, NUM_LIKELIEST + 1, 10**6])),
        )
        for _ in scales
    ]
    logits_BV = torch.randn(len(rows), vocab_size, generator=generator) * torch.tensor(scales)[:, None]
    if has_ties:
        logits_BV = logits_BV.round()
    uniform_B = torch.rand(len(rows), generator=generator, dtype=torch.float64)
    drawn_B = draw(logits_BV, settings_of(rows, vocab_size=vocab_size, device=CPU), uniform_B).token_B
    for logits_V, params, uniform, drawn in zip(logits_BV, rows, uniform_B, drawn_B, strict=True):
        if params.temperature == 0:
            assert drawn == logits_V.argmax()
            continue
        whole = dataclasses.replace(params, top_k=min(params.top_k, vocab_size))
        weight_V = ((logits_V - logits_V.max()) / params.temperature).exp() * full_sort_kept(logits_V, whole)
        running_V = weight_V.double().cumsum(0)
        assert drawn == torch.searchsorted(running_V, uniform * running_V[-1], right=True)


def test_a_flat_row_is_drawn_as_without_a_broken_one_beside_it() -> None:
    """Both are sorted whole, in which NaN has to have a place."""
    flat_V = torch.randn(3 * NUM_LIKELIEST, generator=torch.Generator().manual_seed(0)) / 2
    broken_V = flat_V.clone()
    broken_V[7] = math.nan
    rows = [SamplingParams(top_p=0.95)] * 2
    uniform_B = torch.tensor([0.3, 0.3], dtype=torch.float64)
    common = {"vocab_size": len(flat_V), "device": CPU}
    alone = draw(flat_V[None], settings_of(rows[:1], **common), uniform_B[:1])
    beside = draw(torch.stack([flat_V, broken_V]), settings_of(rows, **common), uniform_B)
    assert beside.token_B[0] == alone.token_B[0]
    assert not beside.logprob_B[1].isfinite()


@settings(max_examples=50)
@given(logits=st.lists(st.floats(-30, 30), min_size=2, max_size=60), temperature=st.sampled_from([0.0, 3.0]))
def test_logprob_and_entropy_are_those_of_the_unwarped_model(logits: list[float], temperature: float) -> None:
    rows = settings_of([SamplingParams(top_k=2, temperature=temperature)], vocab_size=len(logits), device=CPU)
    drawn = draw(torch.tensor([logits], dtype=torch.float64), rows, torch.tensor([0.5]).double())
    unwarped = reference.softmax(logits)
    entropy = -math.fsum(p * math.log(p) for p in unwarped if p > 0)
    assert drawn.entropy_B.item() == pytest.approx(entropy, abs=1e-12)
    assert drawn.logprob_B.item() == pytest.approx(math.log(unwarped[drawn.token_B.item()]), abs=1e-12)


@settings(max_examples=50)
@given(logits=st.lists(st.floats(-30, 30), min_size=2, max_size=60))
def test_confidence_is_minus_the_mean_log_probability_of_the_likeliest_twenty(logits: list[float]) -> None:
    """Of the unwarped model, whatever the settings."""
    rows = settings_of([SamplingParams(top_k=2, temperature=3.0)], vocab_size=len(logits), device=CPU)
    drawn = draw(torch.tensor([logits], dtype=torch.float64), rows, torch.tensor([0.5]).double())
    likeliest = sorted((math.log(p) for p in reference.softmax(logits)), reverse=True)[:20]
    assert drawn.confidence_B.item() == pytest.approx(-math.fsum(likeliest) / len(likeliest), abs=1e-9)


def test_each_token_has_the_confidence_of_the_distribution_it_was_drawn_from() -> None:
    model = tiny.build()
    decoder_ = Decoder(model, eos_ids=frozenset({tiny.EOS_ID}))
    attempts = [attempt(5, seed=1), attempt(9, seed=2)]
    decoder_.admit(attempts)
    run_to_the_end(decoder_)
    for one in attempts:
        ids = [*one.prompt_ids, *(token.id for token in one.tokens)]
        logits_TV = model(input_ids=torch.tensor([ids])).logits[0, len(one.prompt_ids) - 1 : -1]
        expected = -logits_TV.log_softmax(-1).sort(descending=True).values[:, :20].mean(-1)
        assert [token.confidence for token in one.tokens] == pytest.approx(expected.tolist(), abs=1e-9)


def test_who_follows_an_attempt_ends_it_before_the_next_forward_pass() -> None:
    model = tiny.build(endless=True)
    rows: list[int] = []
    model.register_forward_pre_hook(
        lambda _module, _args, kwargs: rows.append(kwargs["input_ids"].shape[0]), with_kwargs=True
    )
    heard: list[tuple[int, FinishReason | None]] = []

    def follow(token_id: int, finish: FinishReason | None) -> FinishReason | None:
        heard.append((token_id, finish))
        return FinishReason.ABORTED if len(heard) == 2 else finish

    cut, whole = attempt(4, max_new_tokens=9), attempt(4, max_new_tokens=3)
    cut.follow = follow
    decoder_ = Decoder(model, eos_ids=frozenset())
    decoder_.admit([cut, whole])
    run_to_the_end(decoder_)
    assert rows == [1, 2, 1]  # the prompt they share, a pass for both, and one that only the second needs
    assert heard == [(token.id, None) for token in cut.tokens]
    assert (cut.finish, whole.finish) == (FinishReason.ABORTED, FinishReason.LENGTH)


def test_who_followed_an_attempt_that_was_left_hears_no_more_of_it() -> None:
    """The caller may have left between two looks at the batch, and be reading what it heard."""
    heard: list[int] = []

    def follow(token_id: int, finish: FinishReason | None) -> FinishReason | None:
        heard.append(token_id)
        return finish

    one = attempt(4)
    one.follow = follow
    decoder_ = decoder(endless=True)
    decoder_.admit([one])
    decoder_.step()
    one.is_cancelled = True
    decoder_.step()
    assert heard == [one.tokens[0].id]


def test_a_row_without_top_p_keeps_its_faintest_token_beside_a_row_with_it() -> None:
    """exp(-40) is lost in a sum that begins with 1, so a cut at "all of the mass" would drop the token."""
    logits_BV = torch.tensor([[0.0, -40.0], [0.0, -40.0]], dtype=torch.float64)
    rows = [SamplingParams(temperature=1.0), SamplingParams(temperature=1.0, top_p=0.5)]
    weight_BV = warp(logits_BV, settings_of(rows, vocab_size=2, device=CPU))
    assert (weight_BV > 0).tolist() == [[True, True], [True, False]]


@pytest.mark.parametrize("uniform", [0.0, 1 - 2**-53])
def test_the_ends_of_the_unit_interval_draw_tokens_that_were_kept(uniform: float) -> None:
    logits_BV = torch.tensor([[-1e30, 0.1, 0.2, 0.3, -1e30]])
    drawn = draw(logits_BV, settings_of([SamplingParams()], vocab_size=5, device=CPU), torch.tensor([uniform]).double())
    assert drawn.token_B.item() == (1 if uniform == 0 else 3)


def test_draws_follow_the_warped_distribution() -> None:
    num_draws = 20_000
    logits = [0.0, 1.0, 2.0, -1.0]
    params = SamplingParams(temperature=0.7, top_p=0.95)
    rows = settings_of([params] * num_draws, vocab_size=4, device=CPU)
    noise = random.Random(0)
    uniform_B = torch.tensor([noise.random() for _ in range(num_draws)], dtype=torch.float64)
    token_B = draw(torch.tensor([logits] * num_draws), rows, uniform_B).token_B
    share_V = torch.bincount(token_B, minlength=4) / num_draws
    expected = reference.warped_probabilities(logits, params)
    assert share_V.tolist() == pytest.approx(expected, abs=4 * 0.5 / math.sqrt(num_draws))


def test_half_precision_padding_leaves_no_nan_in_the_cache() -> None:
    batch = Batch(tiny.build(dtype=torch.bfloat16))
    with torch.inference_mode():
        batch.add([ids_of(30), ids_of(2)])
        batch.add([ids_of(1)])
        batch.advance(torch.tensor([1, 2, 3]))
    assert batch.logits_BV.isfinite().all()
    assert all(layer.keys.isfinite().all() and layer.values.isfinite().all() for layer in batch._cache.layers)


def test_sliding_windows_are_refused_and_switched_off_ones_are_not() -> None:
    windowed = tiny.build(use_sliding_window=True, sliding_window=8, max_window_layers=1)
    with pytest.raises(InputError, match="layer 1 keeps a DynamicSlidingWindowLayer"):
        Batch(windowed)
    Batch(tiny.build(use_sliding_window=False, sliding_window=8))


@settings(max_examples=50)
@given(
    logits=st.lists(st.floats(-30, 30), min_size=2, max_size=40),
    seen=st.lists(st.integers(0, 1)),
    penalty=st.sampled_from([-1.5, 1.5]),
    temperature=st.sampled_from([0.0, 1.0]),
    uniform=st.floats(0, 1, exclude_max=True),
)
def test_a_presence_penalty_comes_off_what_was_drawn_before_and_changes_no_statistics(
    logits: list[float], seen: list[int], penalty: float, temperature: float, uniform: float
) -> None:
    """Against drawing from logits that were lowered by hand; the neighbour has none."""
    rows = [SamplingParams(temperature=temperature, presence_penalty=each) for each in (penalty, 0.0)]
    logits_BV, chance_B = (torch.tensor([each] * 2, dtype=torch.float64) for each in (logits, uniform))
    row_settings = settings_of(rows, vocab_size=len(logits), device=CPU)
    penalty_BV = presence_penalties(rows, [seen, seen], vocab_size=len(logits), device=CPU)
    drawn, plain = draw(logits_BV, row_settings, chance_B, penalty_BV), draw(logits_BV, row_settings, chance_B)
    lowered = [logit - penalty * (token in seen) for token, logit in enumerate(logits)]
    by_hand = draw(torch.tensor([lowered] * 2, dtype=torch.float64), row_settings, chance_B)
    assert drawn.token_B.tolist() == [by_hand.token_B[0].item(), plain.token_B[1].item()]
    assert drawn.entropy_B.tolist() == plain.entropy_B.tolist()
    unwarped = reference.softmax(logits)
    assert drawn.logprob_B[0].item() == pytest.approx(math.log(unwarped[drawn.token_B[0].item()]), abs=1e-12)


def test_without_a_presence_penalty_nothing_is_counted() -> None:
    assert presence_penalties([SamplingParams()], [[1]], vocab_size=3, device=CPU) is None
