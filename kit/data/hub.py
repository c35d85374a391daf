"""A set's id on the hub in, its rows out, by the `datasets` library: from its cache, or downloaded.

With HF_HUB_OFFLINE=1 nothing but the cache is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from kit.data.columns import Row
from kit.data.files import EXTRA
from kit.data.offline import forbid_telemetry
from kit.errors import MissingError


def rows(
    hub_id: str, *, config: str | None, split: str, load_dataset: Callable[..., Any] | None = None
) -> Sequence[Row]:
    """The rows of one split; they are read as they are asked for.

    load_dataset: `datasets`' own, or another with its arguments.
    Raises: MissingError without the library, for a set that the hub does not have or that is not in the cache when the
        hub cannot be reached.
    """
    named = hub_id if config is None else f"{hub_id} ({config})"
    try:
        found: Sequence[Row] = (load_dataset or _loader(hub_id))(hub_id, config, split=split)
    except (OSError, ValueError) as error:  # not found, not reached, or not of this configuration or split
        told = next(iter(str(error).splitlines()), type(error).__name__)
        raise MissingError(
            f"{named}, split {split!r}: the hub gave nothing ({told}); check the id and the network, or give a file, as "
            "NAME=FILE.jsonl"
        ) from error
    return found


def _loader(hub_id: str) -> Callable[..., Any]:
    forbid_telemetry()
    try:
        from datasets import load_dataset  # heavy
    except ImportError:
        raise MissingError(
            f"{hub_id}: the hub's sets are read with datasets, which is not installed; {EXTRA}"
        ) from None
    loader: Callable[..., Any] = load_dataset
    return loader
