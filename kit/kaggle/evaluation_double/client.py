"""The asking side of the connection: finds the server, calls it, and names every fault as the real gateway does.

In: ports and limits, then the name of a function and its arguments. Out: what the function returned.

Unlike the real client it looks who listens before it sends. So a server that dies during the first call is a
SERVER_CONNECTION_FAILED at once, where the real one asks on until the startup limit and then says
SERVER_NEVER_STARTED; and two listening servers are an error, where the real one asks the first.

Source: kaggle_evaluation/core/{relay,base_gateway}.py 0.9.0, behaviour only.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Never

import grpc

from kit.kaggle.evaluation_double.answer_sheet import GatewayError, GatewayErrorType
from kit.kaggle.evaluation_double.listening import LOOPBACK, speaks_http2
from kit.kaggle.evaluation_double.payload import decode, encode
from kit.kaggle.evaluation_double.protocol import (
    CHANNEL_OPTIONS,
    METHOD,
    SERVICE,
    Request,
    Response,
    StaleServerError,
)

_POLL_S = 0.1
_RAISED = "Exception calling application: "  # gRPC's own words for what a handler raised


class Client:
    """One connection to a server; every fault comes out as a GatewayError of the real gateway's kind."""

    def __init__(self, *, ports: Sequence[int], startup_limit_s: float, answer_deadline_s: float) -> None:
        self._ports = tuple(ports)
        self._startup_limit_s = startup_limit_s
        self._answer_deadline_s = answer_deadline_s
        self._channel: Any = None
        self._call: Any = None
        self._deadline_s: float | None = None  # the first question has none

    def connect(self) -> None:
        """Wait for a server. Raises: GatewayError (SERVER_NEVER_STARTED), StaleServerError."""
        port = _server_port(self._ports, limit_s=self._startup_limit_s)
        self._channel = grpc.insecure_channel(f"{LOOPBACK}:{port}", options=CHANNEL_OPTIONS)
        self._call = self._channel.unary_unary(
            f"/{SERVICE}/{METHOD}",
            request_serializer=Request.SerializeToString,
            response_deserializer=Response.FromString,
        )

    def send(self, name: str, *args: object) -> Any:
        """Call the server's function of that name; returns what it returned. Raises: GatewayError."""
        request = Request(name=name, args=[encode(value) for value in args])
        try:
            response = self._call(request, timeout=self._deadline_s, wait_for_ready=False)
        except grpc.RpcError as error:
            _raise_gateway_error(error, name)
        self._deadline_s = self._answer_deadline_s
        return decode(response.payload)

    def close(self) -> None:
        """Hang up; a call under way is abandoned."""
        if self._channel is not None:
            self._channel.close()


def _server_port(ports: Sequence[int], *, limit_s: float) -> int:
    """Wait for a server at one of the ports.

    Raises: GatewayError (SERVER_NEVER_STARTED); StaleServerError if there are two, as it cannot be told which
    is meant (the real gateway asks the first).
    """
    deadline_s = time.monotonic() + limit_s
    while True:
        found = [port for port in ports if speaks_http2(port)]
        if len(found) > 1:
            raise StaleServerError(f"servers listen on the ports {found}; stop all but the one to be asked")
        if found:
            return found[0]
        if time.monotonic() >= deadline_s:
            raise GatewayError(
                GatewayErrorType.SERVER_NEVER_STARTED,
                f"no server listened on any of the ports {list(ports)} within {limit_s:g} s",
            )
        time.sleep(_POLL_S)


def _raise_gateway_error(error: Any, endpoint: str) -> Never:
    """Sort a failed call as the real gateway does."""
    details = str(error.details())
    if f"No listener for {endpoint} was registered" in details:
        raise GatewayError(
            GatewayErrorType.SERVER_MISSING_ENDPOINT, f"the server offers no function named {endpoint}"
        ) from None
    if _RAISED in details:
        message = details.partition(_RAISED)[2]
        raise GatewayError(GatewayErrorType.SERVER_RAISED_EXCEPTION, message) from None
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        raise GatewayError(GatewayErrorType.GRPC_DEADLINE_EXCEEDED, details) from None
    raise GatewayError(GatewayErrorType.SERVER_CONNECTION_FAILED, f"{error.code().name}: {details}") from error
