"""The seam between the client and what runs the server: where the server is, and whom to tell that it broke."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from kit.engines.vllm.client.watchdog import Watchdog


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A server that answers.

    url: without the `/v1`. model: its name for the model. context_tokens: of prompt and text; None if not known.
    generation: number of this start of the server.
    """

    url: str
    model: str
    context_tokens: int | None = None
    generation: int = 0


class Endpoint(Protocol):
    """A server as its clients need it."""

    @property
    def watchdog(self) -> Watchdog:
        """What clients report requests and tokens to."""
        ...

    async def ready(self) -> Address:
        """Wait until the server answers.

        Raises: EngineError once it never will again.
        """
        ...

    def report_broken(self, address: Address) -> None:
        """Report that a request broke there, by no fault of its own."""
        ...


class FixedEndpoint:
    """A server that somebody else runs."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._watchdog = Watchdog()

    @property
    def watchdog(self) -> Watchdog:
        """See Endpoint; nobody reads it."""
        return self._watchdog

    async def ready(self) -> Address:
        """The address, whatever has become of the server."""
        return self._address

    def report_broken(self, address: Address) -> None:
        """Do nothing: the server is not ours."""
