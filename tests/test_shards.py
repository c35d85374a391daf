"""The long tests in shards, as CI runs them."""

from __future__ import annotations

import pytest

from kit.evaluation.plan import Shard
from tests.shards import shard_of


@pytest.mark.parametrize("count", [1, 3])
def test_every_test_is_in_one_shard_and_a_class_in_one_with_itself(request: pytest.FixtureRequest, count: int) -> None:
    items = set(request.session.items)
    shards = [shard_of(items, Shard(index, count)) for index in range(count)]
    assert sum(map(len, shards)) == len(items)
    assert set().union(*shards) == items
    for shard in shards:
        classes = {item.parent for item in shard if isinstance(item.parent, pytest.Class)}
        assert {item for item in items if item.parent in classes} <= shard
