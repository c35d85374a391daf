"""The moving average of the weights that are trained: what is evaluated and shipped in the end.

In: parameters. Out: torch's own AveragedModel over them, and a context in which a model has the averaged weights.
A decay of 0.999 averages over a thousand updates and lags in a short run, so it begins lower.

Source: EMA 0.999 arXiv 2510.04871 section 4.7; the bias correction is the one of TensorFlow's
ExponentialMovingAverage, min(decay, (1 + s) / (10 + s)) after s updates.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def decay_at(num_averaged: int, *, decay: float) -> float:
    """The share of the average that stays at its s-th update."""
    return min(decay, (1 + num_averaged) / (10 + num_averaged))


def average_of(parameters: Iterable[nn.Parameter], *, decay: float) -> AveragedModel:
    """An average that has seen nothing yet; `AveragedModel.update_parameters` of the same `collected` feeds it."""

    @torch.no_grad()
    def blend(averages: list[Tensor], weights: list[Tensor], num_averaged: Tensor | int) -> None:
        torch._foreach_lerp_(averages, weights, 1 - decay_at(int(num_averaged), decay=decay))

    return AveragedModel(collected(parameters), multi_avg_fn=blend)  # type: ignore[arg-type]  # tuples and lists


def collected(parameters: Iterable[nn.Parameter]) -> nn.ParameterList:
    """The parameters as the module that AveragedModel wants; the frozen ones beside them are not copied."""
    return nn.ParameterList(parameters)


@contextmanager
def averaged_weights(parameters: Iterable[nn.Parameter], average: AveragedModel) -> Iterator[None]:
    """The parameters hold the average; afterwards their own values again. An average of nothing changes nothing."""
    parameters = list(parameters)
    own = [parameter.detach().clone() for parameter in parameters]
    keep_average(parameters, average)
    try:
        yield
    finally:
        _copy(parameters, own)


def keep_average(parameters: Iterable[nn.Parameter], average: AveragedModel) -> None:
    """The parameters become the average for good. An average of nothing changes nothing."""
    if int(average.n_averaged):
        _copy(parameters, list(average.module.parameters()))


@torch.no_grad()
def _copy(parameters: Iterable[Tensor], values: Iterable[Tensor]) -> None:
    for parameter, value in zip(parameters, values, strict=True):
        parameter.copy_(value)
