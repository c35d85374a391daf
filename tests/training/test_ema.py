"""The moving average of the weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kit.training.ema import average_of, averaged_weights, collected, decay_at


def test_the_average_is_the_one_of_a_plain_loop() -> None:
    parameter = nn.Parameter(torch.zeros(3, dtype=torch.float64))
    average, expected = average_of([parameter], decay=0.99), torch.zeros(3, dtype=torch.float64)
    for number in range(200):
        value = torch.randn(3, dtype=torch.float64, generator=torch.Generator().manual_seed(number))
        with torch.no_grad():
            parameter.copy_(value)
        average.update_parameters(collected([parameter]))
        decay = min(0.99, (1 + number) / (10 + number))
        expected = value if number == 0 else decay * expected + (1 - decay) * value
    torch.testing.assert_close(next(average.module.parameters()).data, expected, rtol=1e-12, atol=1e-12)


def test_the_decay_begins_low_and_ends_where_it_is_told() -> None:
    assert [decay_at(number, decay=0.99) for number in (0, 1, 90, 10_000)] == pytest.approx([0.1, 2 / 11, 0.91, 0.99])


def test_the_model_has_the_average_within_and_its_own_weights_after() -> None:
    parameter = nn.Parameter(torch.zeros(1))
    average = average_of([parameter], decay=0.5)
    for value in (0.0, 1.0):
        parameter.data.fill_(value)
        average.update_parameters(collected([parameter]))
    with averaged_weights([parameter], average):
        assert 0 < parameter.item() < 1
    assert parameter.item() == 1.0


def test_an_average_of_nothing_changes_nothing() -> None:
    parameter = nn.Parameter(torch.ones(1))
    average = average_of([parameter], decay=0.5)
    parameter.data.fill_(3.0)
    with averaged_weights([parameter], average):
        assert parameter.item() == 3.0
