"""The long tests in parts, as CI runs them."""

from __future__ import annotations

import pytest

from tests.conftest import part_of


@pytest.mark.parametrize("num_parts", [1, 3])
def test_every_test_is_in_one_part_and_a_class_in_one_with_itself(
    request: pytest.FixtureRequest, num_parts: int
) -> None:
    items = set(request.session.items)
    parts = [part_of(items, number, num_parts) for number in range(1, num_parts + 1)]
    assert sum(map(len, parts)) == len(items)
    assert set().union(*parts) == items
    for part in parts:
        classes = {item.parent for item in part if isinstance(item.parent, pytest.Class)}
        assert {item for item in items if item.parent in classes} <= part
