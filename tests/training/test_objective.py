"""Losses against plain loops over tokens, outputs and gradients."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kit.training.objective import (
    AS_BACKBONE,
    IGNORED,
    TokenSum,
    answer_loss,
    halting_loss,
    is_right,
    kl_to_backbone,
    said,
)


def logits(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator).requires_grad_()


def softmax(row: list[float]) -> list[float]:
    weights = [math.exp(value - max(row)) for value in row]
    return [weight / sum(weights) for weight in weights]


def gradient_by_differences(loss: object, at: Tensor, *, step: float = 1e-6) -> Tensor:
    found = torch.zeros_like(at)
    for index in range(at.numel()):
        ends = []
        for sign in (1, -1):
            moved = at.detach().clone()
            moved.view(-1)[index] += sign * step
            ends.append(float(loss(moved)))  # type: ignore[operator]
        found.view(-1)[index] = (ends[0] - ends[1]) / (2 * step)
    return found


@given(
    seed=st.integers(0, 50),
    targets=st.lists(st.sampled_from([0, 1, 2, 3, IGNORED, AS_BACKBONE]), min_size=1, max_size=6),
)
def test_the_answer_loss_is_the_sum_of_surprises_over_tokens_with_a_target(seed: int, targets: list[int]) -> None:
    values_NV = logits(len(targets), 4, seed=seed)
    expected = [
        -math.log(softmax(row)[target]) for row, target in zip(values_NV.tolist(), targets, strict=True) if target >= 0
    ]
    found = answer_loss(said(values_NV), torch.tensor(targets))
    assert found.total.item() == pytest.approx(sum(expected), abs=1e-12)
    assert int(found.number) == len(expected)


def test_the_kl_counts_only_tokens_that_the_backbone_gets_right() -> None:
    base_NV, values_NV = logits(3, 4, seed=1), logits(3, 4, seed=2)
    best = base_NV.argmax(-1).tolist()
    targets = torch.tensor([best[0], (best[1] + 1) % 4, IGNORED])
    base, ours = softmax(base_NV[0].tolist()), softmax(values_NV[0].tolist())
    expected = sum(p * math.log(p / q) for p, q in zip(base, ours, strict=True))
    found = kl_to_backbone(said(base_NV), said(values_NV), targets)
    assert found.total.item() == pytest.approx(expected, abs=1e-12)
    assert int(found.number) == 1


def test_a_token_to_be_said_as_the_backbone_says_it_has_a_kl_whatever_that_says_and_nothing_else() -> None:
    base_NV, values_NV = logits(1, 4, seed=1), logits(1, 4, seed=2)
    targets = torch.tensor([AS_BACKBONE])
    base, ours = softmax(base_NV[0].tolist()), softmax(values_NV[0].tolist())
    expected = sum(p * math.log(p / q) for p, q in zip(base, ours, strict=True))
    assert kl_to_backbone(said(base_NV), said(values_NV), targets).total.item() == pytest.approx(expected, abs=1e-12)
    assert int(answer_loss(said(values_NV), targets).number) == 0
    assert int(halting_loss(torch.zeros(1), said(values_NV), targets).number) == 0
    assert not bool(is_right(said(values_NV), targets).any())


def test_a_model_that_is_the_backbone_has_no_kl() -> None:
    values_NV = logits(5, 4)
    assert kl_to_backbone(said(values_NV), said(values_NV), values_NV.argmax(-1)).total.item() == 0


def test_the_halting_loss_asks_whether_the_argmax_is_the_answer() -> None:
    values_NV = torch.tensor([[2.0, 0.0], [2.0, 0.0], [2.0, 0.0]], dtype=torch.float64)
    q_N = torch.tensor([1.5, -0.5, 9.0], dtype=torch.float64)
    found = halting_loss(q_N, said(values_NV), torch.tensor([0, 1, IGNORED]))
    expected = math.log(1 + math.exp(-1.5)) + math.log(1 + math.exp(-0.5))
    assert found.total.item() == pytest.approx(expected, abs=1e-12)
    assert int(found.number) == 2


def test_gradients_are_those_of_finite_differences() -> None:
    targets, base_NV = torch.tensor([1, IGNORED, 3]), logits(3, 4, seed=7)
    targets[0] = base_NV[0].argmax()

    def total(values_NV: Tensor) -> Tensor:
        parts = (
            answer_loss(said(values_NV), targets),
            kl_to_backbone(said(base_NV.detach()), said(values_NV), targets),
        )
        return parts[0].total + parts[1].total

    values_NV = logits(3, 4, seed=8)
    total(values_NV).backward()  # type: ignore[no-untyped-call]
    assert values_NV.grad is not None
    torch.testing.assert_close(values_NV.grad, gradient_by_differences(total, values_NV), atol=1e-7, rtol=1e-7)


def test_half_precision_logits_are_summed_in_float32() -> None:
    found = answer_loss(said(torch.zeros(3, 4, dtype=torch.bfloat16)), torch.tensor([0, 1, 2]))
    assert found.total.dtype is torch.float32
    assert found.total.item() == pytest.approx(3 * math.log(4), rel=1e-6)


@given(values=st.lists(st.sampled_from([0.0, 0.5, 1.0, 1.0078125]), min_size=1, max_size=8))
def test_the_most_likely_token_is_the_first_of_those_that_tie(values: list[float]) -> None:
    for dtype in (torch.bfloat16, torch.float32):
        assert int(said(torch.tensor([values], dtype=dtype)).best) == values.index(max(values))


def test_an_ignored_target_is_never_right() -> None:
    assert is_right(said(torch.zeros(1, 3)), torch.tensor([IGNORED])).tolist() == [False]


def test_sums_over_shares_of_a_batch_add_up_to_the_sum_over_the_batch() -> None:
    values_NV, targets = logits(6, 4, seed=3), torch.tensor([0, IGNORED, 2, 3, 1, 1])
    whole = answer_loss(said(values_NV), targets)
    shares = [answer_loss(said(values_NV[part]), targets[part]) for part in (slice(0, 2), slice(2, 6))]
    added = TokenSum(*(sum(each, torch.tensor(0.0)) for each in zip(*shares, strict=True)))
    torch.testing.assert_close(added.total, whole.total)
    assert int(added.number) == int(whole.number)
