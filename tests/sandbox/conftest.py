"""Real sandboxes on trio's real clock: one pool for all tests of a file."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "trio"
