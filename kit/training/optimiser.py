"""How weights are updated: AdamW without decay where it harms, the learning rate by update, clipping.

In: a module, a recipe, a number of updates. Out: an optimiser, rates, a gradient's norm. Weights are float32 masters
whatever the products are computed in. It knows no loss and no data.

Source: AdamW with these betas arXiv 2510.04871 section 4; constant after the warm-up as in its code.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from kit.errors import InputError, check_fields

# Vectors that are no products: decay would pull a norm's gain, a first state or a rate to 0, where 0 means nothing.
_WITHOUT_DECAY = ("y_init", "z_init", "rate_logits", "feature_mix", "bias")


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimiserRecipe:
    """AdamW and its learning rate.

    learning_rate: its peak, reached after warmup_updates. decay: how it falls afterwards: "linear" over the last
    `decay_share` of all updates to 0, "cosine" from the warm-up on, or "constant".
    """

    learning_rate: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.1
    warmup_updates: int = 50
    decay: Literal["constant", "linear", "cosine"] = "linear"
    decay_share: float = 0.25
    max_grad_norm: float = 1.0

    def __post_init__(self) -> None:
        checks = (
            ("learning_rate", 0 < self.learning_rate < math.inf, "> 0 and finite"),
            ("weight_decay", 0 <= self.weight_decay < math.inf, ">= 0 and finite"),
            ("warmup_updates", self.warmup_updates >= 0, ">= 0"),
            ("decay", self.decay in ("constant", "linear", "cosine"), "constant, linear or cosine"),
            ("decay_share", 0 <= self.decay_share <= 1, "in [0, 1]"),
            ("max_grad_norm", self.max_grad_norm > 0, "> 0"),
        )
        check_fields(self, checks)


def trainable(module: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that training changes, by name.

    Raises: InputError if there is none.
    """
    found = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
    if not found:
        raise InputError(f"{type(module).__name__} has no trainable parameter; everything in it is frozen")
    return found


def optimiser_for(module: nn.Module, recipe: OptimiserRecipe) -> torch.optim.AdamW:
    """AdamW over the trainable parameters, in two groups: with decay and without."""
    groups: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for name, parameter in trainable(module).items():
        groups[_decays(name, parameter)].append(parameter)
    settings = [
        {"params": parameters, "weight_decay": recipe.weight_decay if decays else 0.0}
        for decays, parameters in groups.items()
        if parameters
    ]
    return torch.optim.AdamW(settings, lr=recipe.learning_rate, betas=recipe.betas)


def learning_rate_at(update: int, num_updates: int, recipe: OptimiserRecipe) -> float:
    """The rate of an update, counted from 0, of `num_updates` in all (batches x epochs x N_sup)."""
    if update < recipe.warmup_updates:
        return recipe.learning_rate * (update + 1) / recipe.warmup_updates
    if recipe.decay == "constant":
        return recipe.learning_rate
    falls_from = recipe.warmup_updates
    if recipe.decay == "linear":
        falls_from = max(falls_from, num_updates - round(recipe.decay_share * num_updates))
    left = min(1.0, (num_updates - update) / max(1, num_updates - falls_from))
    share = left if recipe.decay == "linear" else 0.5 * (1 - math.cos(math.pi * left))
    return recipe.learning_rate * max(0.0, share)


def set_learning_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Give all groups this rate."""
    for group in optimiser.param_groups:
        group["lr"] = rate


def scale_and_clip(parameters: Iterable[nn.Parameter], *, factor: float, max_norm: float) -> Tensor:
    """Multiply the gradients by `factor`, then shorten them to `max_norm`; returns their norm before shortening."""
    gradients = list(_gradients(parameters))
    torch._foreach_mul_(gradients, factor)
    norm = torch.nn.utils.get_total_norm(gradients)
    torch._foreach_mul_(gradients, (max_norm / (norm + 1e-6)).clamp(max=1.0))
    return norm


def _gradients(parameters: Iterable[nn.Parameter]) -> Iterator[Tensor]:
    return (parameter.grad for parameter in parameters if parameter.grad is not None)


def _decays(name: str, parameter: nn.Parameter) -> bool:
    return parameter.ndim > 1 and name.rpartition(".")[2] not in _WITHOUT_DECAY
