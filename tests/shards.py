"""The long tests in shards, as CI runs them: `--shard I/N`, spelled as `kit eval --shard` is."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from kit.evaluation.plan import Shard


def shard_of(items: Collection[pytest.Item], shard: Shard) -> set[pytest.Item]:
    """Every Nth function or class of tests, by name, beginning with number I: what shares a server stays together."""
    chosen = sorted({_group(item) for item in items})[shard.index :: shard.count]
    return {item for item in items if _group(item) in chosen}


def _group(item: pytest.Item) -> str:
    if isinstance(item.parent, pytest.Class):
        return item.parent.nodeid
    return item.nodeid.split("[")[0]
