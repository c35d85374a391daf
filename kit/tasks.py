"""Tasks that run behind a body and end with it, as if there were no nursery.

In: a body. Out: a nursery for its tasks. Trio raises what leaves a nursery as a group, a mere cancellation included,
and callers tell a cancellation from an error by its type.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio


@asynccontextmanager
async def background() -> AsyncIterator[trio.Nursery]:
    """A nursery whose tasks are cancelled when the body is left; see `plain` for what comes out."""
    try:
        async with trio.open_nursery() as nursery:
            yield nursery
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise plain(group) from None


def plain(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What a nursery's group stands for: its one error, or a cancellation where it holds nothing else.

    Several errors stay the group that they are. A group that the body itself raised is one error.
    """
    errors = [error for error in group.exceptions if not isinstance(_single(error), trio.Cancelled)]
    if not errors:
        return _single(group)
    return errors[0] if len(errors) == 1 else group


def _single(error: BaseException) -> BaseException:
    """A cancellation, where a group of any depth holds nothing else; or what came."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    first, *rest = map(_single, error.exceptions)
    return first if all(isinstance(leaf, trio.Cancelled) for leaf in (first, *rest)) else error
