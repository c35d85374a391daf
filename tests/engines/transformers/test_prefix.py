"""What prompts begin with alike is computed once, and nothing else changes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.engines.transformers.batch import Batch
from kit.engines.transformers.decoding import PREFILL_TOKENS, Attempt, Decoder, prefill_groups, sequence_of
from kit.engines.transformers.prefix import MIN_SAVED_TOKENS, num_common
from kit.sampling import SamplingParams
from tests.engines import tiny
from tests.engines.transformers.test_batch import KINDS, assert_equals_reference, ids_of, run_to_the_end

COMMON = ids_of(MIN_SAVED_TOKENS, seed=5)


def attempt(prompt_ids: tuple[int, ...], *, seed: int = 0, max_new_tokens: int = 5) -> Attempt:
    params = SamplingParams(seed=seed, temperature=1.0, max_new_tokens=max_new_tokens)
    return Attempt(prompt_ids=prompt_ids, params=params, max_new_tokens=max_new_tokens)


def with_shapes(model: Any) -> list[tuple[int, ...]]:
    """The shapes of the token ids of each forward pass to come."""
    shapes: list[tuple[int, ...]] = []
    model.register_forward_pre_hook(
        lambda _module, _args, kwargs: shapes.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    return shapes


@pytest.mark.parametrize("kind", KINDS)
def test_rows_with_a_common_beginning_equal_one_by_one_generation(kind: str) -> None:
    """Those that join later too, longer or shorter than what is there, or with less in common."""
    model = tiny.build(kind)
    shapes = with_shapes(model)
    decoder = Decoder(model, eos_ids=frozenset({tiny.EOS_ID}))
    first = [attempt((*COMMON, *ids_of(length)), seed=length) for length in (3, 9, 1)]
    later = [attempt((*COMMON, *ids_of(20)), seed=4), attempt((*COMMON[:50], *ids_of(2)), seed=5)]
    other = attempt(ids_of(90), seed=6)
    decoder.admit(first)
    assert shapes == [(1, len(COMMON)), (3, 9)]
    decoder.step()
    decoder.admit(later[:1])
    decoder.step()
    decoder.admit([later[1], other])
    run_to_the_end(decoder)
    assert_equals_reference(model, [*first, *later, other])


def test_a_row_that_joins_alone_starts_from_what_is_kept() -> None:
    model = tiny.build(endless=True)
    shapes = with_shapes(model)
    decoder = Decoder(model, eos_ids=frozenset())
    decoder.admit([attempt((*COMMON, *ids_of(3))), attempt((*COMMON, *ids_of(4)))])
    shapes.clear()
    decoder.admit([attempt((*COMMON, *ids_of(7)))])
    decoder.admit([attempt(ids_of(7))])
    assert shapes == [(1, 7), (1, 7)]


def test_a_longer_common_beginning_is_computed_from_the_shorter_one() -> None:
    model = tiny.build(endless=True)
    shapes = with_shapes(model)
    decoder = Decoder(model, eos_ids=frozenset())
    decoder.admit([attempt((*COMMON, 1, 1)), attempt((*COMMON, 2, 2))])
    shapes.clear()
    longer = (*COMMON, *ids_of(MIN_SAVED_TOKENS, seed=8))
    decoder.admit([attempt((*longer, 1, 1)), attempt((*longer, 2))])
    assert shapes == [(1, MIN_SAVED_TOKENS), (2, 2)]


def test_a_prompt_that_is_the_whole_of_what_is_kept_still_has_its_logits() -> None:
    model = tiny.build()
    decoder = Decoder(model, eos_ids=frozenset({tiny.EOS_ID}))
    attempts = [
        attempt((*COMMON, *COMMON)),
        attempt((*COMMON, *COMMON, 3), seed=1),
        attempt((*COMMON, *COMMON), seed=2),
    ]
    decoder.admit(attempts[:2])
    decoder.admit(attempts[2:])
    run_to_the_end(decoder)
    assert_equals_reference(model, attempts)


def test_little_in_common_is_not_worth_a_forward_pass() -> None:
    model = tiny.build(endless=True)
    shapes = with_shapes(model)
    decoder = Decoder(model, eos_ids=frozenset())
    decoder.admit([attempt((*COMMON[:20], 1, 1)), attempt((*COMMON[:20], 2, 2))])
    assert shapes == [(2, 22)]


def test_nothing_is_kept_once_all_rows_are_gone() -> None:
    batch = Batch(tiny.build())
    with torch.inference_mode():
        assert batch.share([(*COMMON, 1), (*COMMON, 2)]) == len(COMMON)
        batch.clear()
        assert batch.share([(*COMMON, 3)]) == 0


def test_rows_of_another_kind_share_nothing() -> None:
    batch = Batch(tiny.build())
    with torch.inference_mode():
        batch.share([(*COMMON, 1), (*COMMON, 2)], kind=3)
        assert batch.share([(*COMMON, 3)], kind=3) == len(COMMON)
        assert batch.share([(*COMMON, 3)], kind=0) == 0


@given(st.lists(st.lists(st.integers(0, 2), max_size=6).map(tuple), min_size=1, max_size=4))
def test_the_common_beginning_is_the_longest_one(sequences: list[tuple[int, ...]]) -> None:
    num_tokens = num_common(sequences)
    assert len({ids[:num_tokens] for ids in sequences}) == 1
    assert all(len(ids) >= num_tokens for ids in sequences)
    longer = {ids[: num_tokens + 1] for ids in sequences}
    assert len(longer) > 1 or any(len(ids) == num_tokens for ids in sequences)


@settings(max_examples=30)
@given(
    lengths=st.lists(st.integers(1, 900), min_size=1, max_size=12),
    num_equal=st.integers(1, 3),
)
def test_prefill_groups_hold_every_attempt_and_little_padding(lengths: list[int], num_equal: int) -> None:
    attempts = [attempt(ids_of(length, seed=seed)) for seed, length in enumerate(lengths) for _ in range(num_equal)]
    groups = prefill_groups(attempts, num_shared=0)
    assert {id(one) for group in groups for one in group} == {id(one) for one in attempts}
    assert sum(map(len, groups)) == len(attempts)
    distinct = [{sequence_of(one) for one in group} for group in groups]
    assert len(set.union(*distinct)) == sum(map(len, distinct))
    for sequences in distinct:
        assert len(sequences) == 1 or len(sequences) * max(map(len, sequences)) <= PREFILL_TOKENS
