"""Where the recursion's keys and values live: extra layers of the backbone's own Hugging Face cache.

In: a transformers Cache that the backbone has just extended. Out: slots. As plain `DynamicLayer`s behind
the backbone's they are cropped, reordered, padded and selected by whatever does so to the cache; all
grow by the same columns in a forward pass. It never says how long the past is: positions and masks come
from the caller.

    anchor   one slot a layer                                    2 L H E numbers a token at any depth
    states   one slot an (application, layer)                    2 L H E (n + 1) T
    states, cache="last_step": one slot an (application of one deep recursion, layer); an approximation
             that changes the function beyond T = 1              2 L H E (n + 1)
    token    none

Letters: B rows, S columns, H key-value heads, E head size, L layers of the net.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicLayer

from kit.errors import InputError
from kit.trm.config import TRMConfig
from kit.trm.layers import KeyValue


@dataclass(frozen=True, slots=True)
class Unkept:
    """A slot without past or future: a forward pass over whole sequences."""

    def extend(self, new: KeyValue) -> KeyValue:
        """The new columns alone."""
        return new


@dataclass(frozen=True, slots=True)
class Kept:
    """A slot that remembers what it is given."""

    layer: Any

    def extend(self, new: KeyValue) -> KeyValue:
        """Append for good."""
        return KeyValue(*self.layer.update(*new))


@dataclass(frozen=True, slots=True)
class Shown:
    """A slot that shows its past beside new columns but does not remember them."""

    layer: Any

    def extend(self, new: KeyValue) -> KeyValue:
        """Append for this once."""
        if self.layer.get_seq_length() == 0:
            return new
        return KeyValue(torch.cat([self.layer.keys, new.keys], -2), torch.cat([self.layer.values, new.values], -2))


class Slots:
    """The recursion's part of a cache, addressed by application and layer of the net.

    cache: None for a forward pass that keeps nothing. first: how many layers the backbone has. depth: the
    deepest recursion of this forward pass. num_past: how many columns the cache held before it.
    Raises: InputError if the past was not computed as deep as this pass wants to read it.
    """

    def __init__(self, cache: Any, config: TRMConfig, *, first: int, depth: int, num_past: int) -> None:
        self._config = config
        self._last_begins = (depth - 1) * config.num_applications
        self._num_past = num_past
        self._layers: list[Any] | None = None
        if cache is None:
            return
        wanted = num_slots(config, depth)
        reserve(cache, num_layers=first + wanted)
        self._layers = cache.layers[first:]
        for layer in self._layers[:wanted]:
            if layer.get_seq_length() != num_past:
                raise InputError(
                    f"the cache's past was computed at a smaller depth than {depth}; expected the same depth "
                    f"throughout with form={config.form!r} (form='anchor' may change it at any token)"
                )

    def at(self, application: int, layer: int) -> Unkept | Kept | Shown:
        """The slot of one layer in one application of the net, counted from the initial state."""
        if self._layers is None:
            return Unkept()
        if self._config.cache == "last_step":
            index = application % self._config.num_applications
            kind = Kept if application >= self._last_begins else Shown
            return kind(self._layers[index * self._config.num_layers + layer])
        return Kept(self._layers[application * self._config.num_layers + layer])

    def fill(self, like_BTD: Tensor) -> None:
        """Append zeros, a column for each of `like_BTD`, to the slots that this pass was too shallow to reach.

        All slots so stay equally long. Nothing reads the zeros: a row's depth does not change.
        """
        shape = (like_BTD.shape[0], self._config.num_key_value_heads, like_BTD.shape[1], self._config.head_dim)
        for layer in self._layers or ():
            if layer.get_seq_length() == self._num_past:
                zeros_BHTE = like_BTD.new_zeros(shape)
                layer.update(zeros_BHTE, zeros_BHTE)


def reserve(cache: Any, *, num_layers: int) -> None:
    """Give a cache at least so many layers; the new ones are empty."""
    while len(cache.layers) < num_layers:
        cache.layers.append(DynamicLayer())


def num_slots(config: TRMConfig, depth: int) -> int:
    """How many cache layers the recursion needs for forward passes at this depth."""
    if config.form == "token":
        return 0
    if config.form == "anchor":
        return config.num_layers
    times = depth if config.cache == "exact" else min(depth, 1)
    return config.num_layers * config.num_applications * times


def cache_bytes_per_token(config: TRMConfig, *, depth: int, dtype: torch.dtype = torch.bfloat16) -> int:
    """What the recursion adds to the backbone's cache for every token of every sequence."""
    return 2 * num_slots(config, depth) * config.num_key_value_heads * config.head_dim * dtype.itemsize
