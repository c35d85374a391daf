"""Where the recursion's keys and values live: extra layers of the backbone's own Hugging Face cache.

In: a transformers Cache that the backbone has just extended. Out: slots. As plain `DynamicLayer`s behind
the backbone's they are cropped, reordered, padded and selected by whatever does so to the cache; all
grow by the same columns in a forward pass. It never says how long the past is: positions and masks come
from the caller.

    anchor   one slot a layer                                    2 L H E numbers a token at any depth
    states   one slot an (application, layer)                    2 L H E (n + 1) T, and T itself, as a byte
    states, cache="last_step": one slot an (application of one deep recursion, layer); an approximation
             that changes the function beyond T = 1              2 L H E (n + 1)
    token    none

Letters: B rows, S columns, H key-value heads, E head size, L layers of the net.
"""

from __future__ import annotations

from collections.abc import Sequence
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

    cache: None for a forward pass that keeps nothing, else one that `check_past` has let pass. first: how many
    layers the backbone has. depth: the deepest recursion of this forward pass. num_past: how many columns the
    cache held before it.
    """

    def __init__(self, cache: Any, config: TRMConfig, *, first: int, depth: int, num_past: int) -> None:
        self._config = config
        self._last_begins = (depth - 1) * config.num_applications
        self._num_past = num_past
        self._layers: list[Any] | None = None
        self._depths: Any = None
        if cache is None:
            return
        reserve(cache, num_layers=first + num_cache_layers(config, depth))
        self._layers = cache.layers[first:]
        if _records_depth(config):
            self._depths = self._layers.pop(0)

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

    def record(self, depth_BT: Tensor) -> None:
        """Note how deep each new column went, for `check_past`."""
        if self._depths is not None:
            keys_B1T1 = depth_BT.to(torch.int8)[:, None, :, None]
            self._depths.update(keys_B1T1, keys_B1T1[..., :0])


def is_whole(cache: Any, config: TRMConfig, *, first: int, num_past: int) -> bool:
    """Whether the recursion's part of a cache reaches as far back as the backbone's, so that it may be extended."""
    layers = cache.layers[first : first + num_cache_layers(config, 0)]
    if not num_past:
        return True
    return len(layers) == num_cache_layers(config, 0) and all(layer.get_seq_length() == num_past for layer in layers)


def check_past(cache: Any, config: TRMConfig, *, first: int, depth_B: Sequence[int], num_past: int) -> None:
    """Raise InputError unless rows of these depths may go on from a cache; call it before the cache grows.

    In the form "states" it waits for the device, to compare a number a row.
    """
    if not num_past:
        return
    is_recorded = is_whole(cache, config, first=first, num_past=num_past)
    if _records_depth(config) and is_recorded:
        past_B = cache.layers[first].keys[:, 0, -1, 0].tolist()
        if past_B != list(depth_B):
            raise InputError(
                f"form='states' needs one depth for the whole life of a row: the cache's past was computed at depth "
                f"{past_B} (row by row), this call asks for {list(depth_B)}; ask for the past's, begin with a new "
                "cache, or use form='anchor', which may change its depth at any token"
            )
    if max(depth_B) and not is_recorded:
        raise InputError(
            "the cache's past has nothing for a recursion to read: it comes from the backbone alone, from `generate` "
            "at depth 0 or from recurses_later=False; prefill it with depth=0 and recurses_later=True, or anew"
        )


def reserve(cache: Any, *, num_layers: int) -> None:
    """Give a cache at least so many layers; the new ones are empty."""
    while len(cache.layers) < num_layers:
        cache.layers.append((cache.layer_class_to_replicate or DynamicLayer)())


def show_zeros(cache: Any, config: TRMConfig, *, first: int, depth: int, dtype: torch.dtype) -> None:
    """Make the recursion's part as long as the backbone's, with zeros in the place of what it held.

    For rows that stay at depth 0, so that they may be stacked with others. It costs no memory: one zero, seen
    as all of them. depth: the deepest of the others.
    """
    reserve(cache, num_layers=first + num_cache_layers(config, depth))
    num_rows, _, num_columns, _ = cache.layers[0].keys.shape
    zero = cache.layers[0].keys.new_zeros((), dtype=dtype)
    zeros_BHSE = zero.expand(num_rows, config.num_key_value_heads, num_columns, config.head_dim)
    layers = cache.layers[first:]
    if _records_depth(config):
        depths_B1S1 = zero.to(torch.int8).expand(num_rows, 1, num_columns, 1)
        _show(layers.pop(0), KeyValue(depths_B1S1, depths_B1S1[..., :0]))
    for layer in layers:
        _show(layer, KeyValue(zeros_BHSE, zeros_BHSE))


def _show(layer: Any, shown: KeyValue) -> None:
    if not layer.is_initialized:
        layer.lazy_initialization(*shown)
    layer.keys, layer.values = shown


def _records_depth(config: TRMConfig) -> bool:
    """In the form "states" the first layer's keys are each column's depth: they follow rows wherever they go."""
    return config.form == "states"


def num_cache_layers(config: TRMConfig, depth: int) -> int:
    """How many cache layers the recursion needs for forward passes at this depth."""
    return num_slots(config, depth) + _records_depth(config)


def num_slots(config: TRMConfig, depth: int) -> int:
    """How many of those layers hold keys and values."""
    if config.form == "token":
        return 0
    if config.form == "anchor":
        return config.num_layers
    times = depth if config.cache == "exact" else min(depth, 1)
    return config.num_layers * config.num_applications * times


def cache_bytes_per_token(config: TRMConfig, *, depth: int, dtype: torch.dtype = torch.bfloat16) -> int:
    """What the recursion adds to the backbone's cache for every token of every sequence."""
    numbers = 2 * num_slots(config, depth) * config.num_key_value_heads * config.head_dim
    return numbers * dtype.itemsize + _records_depth(config) * torch.int8.itemsize
