"""The kit's stand-in for AIMO3InferenceServer: serves `predict` over gRPC on loopback, with nothing of Kaggle's.

In: plain functions, one of them named `predict`. Out: a server that the real gateway and ours can ask; in a dry
run it also plays the gateway itself and leaves ./submission.parquet.

As with the real one, `predict` runs in the one worker thread of the pool, not in the main thread, and an object
serves once. Unlike it, ports are bound when serving starts, not when the object is made; only 127.0.0.1 is bound
(the dry run's gateway is a process of the same network namespace; on Kaggle, where it is another container, the
real package serves); and a stale server in the way is an error rather than a wrong answer.

Ctrl-C frees the main thread at once. A `predict` that is still running cannot be stopped, by the real server
neither: the interpreter ends when it returns, or on a second Ctrl-C.

Source: kaggle_evaluation/core/{relay,templates}.py 0.9.0 and aimo_3_inference_server.py, behaviour only.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import FunctionType, TracebackType
from typing import Any, Self

import grpc
import polars as pl

from kit.engines.vllm.server.ports import is_free
from kit.errors import EngineError, InputError
from kit.kaggle.evaluation_double.gateway import GatewaySettings, LocalGateway, Progress
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
from kit.kaggle.facts import EVALUATION_PORTS, RERUN_VARIABLE, STARTUP_LIMIT_S

# Stopping without grace cancels calls that are just ending, and the client's side of gRPC logs that to stderr.
_GRACE_S = 0.5
_imported_at_s = time.monotonic()  # the real package, too, counts from its import


class LocalInferenceServer:
    """Serves functions under their own names; use as `AIMO3InferenceServer`, or in a `with` block.

    `ports` are tried in order; 0 means any free one (`port` tells which).
    Raises: InputError for anything but named plain functions, which is all the real one takes.
    """

    def __init__(
        self,
        *functions: Callable[..., Any],
        ports: Sequence[int] = EVALUATION_PORTS,
        started_at_s: float = _imported_at_s,
    ) -> None:
        if not functions:
            raise InputError("the server needs at least one function; pass predict")
        self._functions = {_checked_name(function): function for function in functions}
        self._ports = tuple(ports)
        self._started_at_s = started_at_s
        self._pool: ThreadPoolExecutor | None = None
        self._server: Any = None
        self._port: int | None = None

    @property
    def port(self) -> int:
        """The port that is served. Raises: EngineError before `start`."""
        if self._port is None:
            raise EngineError("the server has no port before it is started")
        return self._port

    def start(self) -> None:
        """Bind a port and serve in the background. Raises: EngineError (a second time), StaleServerError."""
        if self._server is not None:
            raise EngineError("a server can be started once, the real one too; make a new LocalInferenceServer")
        port = _first_free_port(self._ports)
        self._pool = ThreadPoolExecutor(max_workers=1)
        # Without so_reuseport=0 two servers could share a port, each getting some of the questions.
        self._server = grpc.server(self._pool, options=(*CHANNEL_OPTIONS, ("grpc.so_reuseport", 0)))
        send = grpc.unary_unary_rpc_method_handler(
            self._send, request_deserializer=Request.FromString, response_serializer=Response.SerializeToString
        )
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {METHOD: send}),))
        self._port = self._server.add_insecure_port(f"{LOOPBACK}:{port}")
        self._server.start()

    def serve(self) -> None:
        """Start; in a competition rerun block until interrupted, otherwise return at once, still serving.

        No signal tells the end: after the last question the real process, too, just waits to be killed.
        """
        self.start()
        if os.getenv(RERUN_VARIABLE) is not None:
            try:
                self._server.wait_for_termination()
            finally:
                self.stop()

    def run_local_gateway(
        self,
        data_paths: Sequence[str | Path],
        *,
        settings: GatewaySettings | None = None,
        on_answer: Callable[[Progress], None] | None = None,
    ) -> pl.DataFrame:
        """Start, ask every question of `data_paths[0]` in this process, write ./submission.parquet and stop.

        Returns the submission. Raises: GatewayError, and what reading the questions raises.
        """
        self._warn_if_late()
        self.start()
        try:
            settings = replace(settings or GatewaySettings(), ports=(self.port,))
            return LocalGateway(Path(data_paths[0]), settings=settings, on_answer=on_answer).run()
        finally:
            self.stop()

    def stop(self) -> None:
        """Stop serving and free the port and the threads; a `predict` still running is not waited for."""
        if self._server is None or self._pool is None:
            return
        self._server.stop(grace=_GRACE_S).wait(timeout=5)
        self._pool.shutdown(wait=False, cancel_futures=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _send(self, request: Any, _context: Any) -> Any:
        """One call. What it raises, gRPC logs with its traceback and sends on to the gateway as text."""
        function = self._functions.get(request.name)
        if function is None:
            # Both gateways know this fault by these words.
            raise NotImplementedError(f"No listener for {request.name} was registered.")
        try:
            answer = function(*map(decode, request.args))
        except BaseException as error:
            if isinstance(error, Exception):
                raise
            # gRPC would let these end the worker thread unanswered: the real gateway then waits for hours.
            raise EngineError(f"predict raised {error!r}; on Kaggle the run would hang until killed") from error
        return Response(payload=encode(answer))

    def _warn_if_late(self) -> None:
        elapsed_s = time.monotonic() - self._started_at_s
        if elapsed_s > STARTUP_LIMIT_S:
            warnings.warn(
                f"{elapsed_s:.0f} s went by before the server started; in the scored run the gateway gives up "
                f"after {STARTUP_LIMIT_S:.0f} s. Start first and load the model within the first predict",
                RuntimeWarning,
                stacklevel=3,
            )


def _checked_name(function: Callable[..., Any]) -> str:
    if not isinstance(function, FunctionType):
        raise InputError(
            f"expected a plain function (def predict(id_, problem): ...), got a {type(function).__qualname__}; "
            "the real server takes no methods, partials or callable objects"
        )
    if function.__name__ == "<lambda>":
        raise InputError("a lambda has no name to be called by; use def predict(id_, problem): ...")
    return function.__name__


def _first_free_port(ports: Sequence[int]) -> int:
    """The first port that can be bound. Raises: StaleServerError if a gRPC server holds one before it."""
    for port in ports:
        if is_free(port):  # asked beforehand, because gRPC writes its own error to stderr when it cannot bind
            return port
        if speaks_http2(port):
            raise StaleServerError(
                f"port {port} is taken by a running gRPC server, most likely an inference server of an earlier cell "
                "or run. A gateway asks this port first, so that server would answer instead of the new one. "
                "Stop it (server.stop(), or restart the kernel) and try again"
            )
        warnings.warn(
            f"port {port} belongs to another program (it is no gRPC server); trying the next one. Kaggle needs "
            f"{EVALUATION_PORTS[0]} and {EVALUATION_PORTS[1]}-{EVALUATION_PORTS[-1]}; keep Jupyter and vLLM off them",
            RuntimeWarning,
            stacklevel=4,
        )
    raise EngineError(f"none of the ports {list(ports)} is free; stop what listens there")
