"""The decode thread: takes waiting attempts, runs the decoder, survives its errors.

In: attempts from any thread. Out: the same attempts, ended. No text and no event loop here.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable

import torch

from kit.engines.transformers.decoding import Attempt, Decoder
from kit.errors import EngineError
from kit.sampling import FinishReason


class Worker:
    """One thread that owns a decoder; it starts with the first attempt and ends with `close`.

    max_batch: rows at once; running out of device memory halves it for good.
    """

    def __init__(self, decoder: Decoder, *, max_batch: int) -> None:
        self._decoder = decoder
        self.max_batch = max_batch
        self._changed = threading.Condition()  # guards the three below
        self._waiting: deque[Attempt] = deque()
        self._is_closed = False
        self._thread: threading.Thread | None = None

    def submit(self, attempt: Attempt) -> None:
        """Queue an attempt.

        Raises: EngineError after `close`.
        """
        with self._changed:
            if self._is_closed:
                raise EngineError("the engine is closed; make a new one")
            self._waiting.append(attempt)
            if self._thread is None:
                # a daemon, so that an engine nobody closed cannot keep the process alive
                self._thread = threading.Thread(target=self._run, name="kit-decode", daemon=True)
                self._thread.start()
            self._changed.notify()

    def close(self) -> None:
        """Fail what is queued or running and join the thread; calling it again does nothing."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while (arrivals := self._take()) is not None:
            self._turn(arrivals)
        with self._changed:
            left = [*self._decoder.attempts, *self._waiting]
            self._waiting.clear()
        self._decoder.clear()
        _fail(left, EngineError("the engine was closed before the sample was done"))

    def _take(self) -> list[Attempt] | None:
        """Attempts for the free rows; waits while there is nothing to do. None: closed."""
        rows = self._decoder.attempts
        num_running = sum(attempt.is_running for attempt in rows)
        with self._changed:
            while not (self._is_closed or rows or self._waiting):
                self._changed.wait()
            if self._is_closed:
                return None
            arrivals: list[Attempt] = []
            while self._waiting and num_running + len(arrivals) < self.max_batch:
                attempt = self._waiting.popleft()
                if attempt.is_running:
                    arrivals.append(attempt)
            return arrivals

    def _turn(self, arrivals: list[Attempt]) -> None:
        in_flight = [*self._decoder.attempts, *arrivals]
        try:
            self._decoder.drop_cancelled()  # first, so that no more than max_batch rows hold memory
            if arrivals:
                self._decoder.admit(arrivals)
            if self._decoder.attempts:
                self._decoder.step()
            return
        except torch.OutOfMemoryError as error:
            trouble: BaseException = error
        # the loop's boundary: any fault, a native panic too, becomes these calls' EngineError, and the thread lives on
        except BaseException as error:  # noqa: BLE001
            trouble = error
        self._recover([attempt for attempt in in_flight if attempt.is_running], trouble)

    def _recover(self, attempts: list[Attempt], trouble: BaseException) -> None:
        self._decoder.clear()
        if not isinstance(trouble, torch.OutOfMemoryError) or len(attempts) < 2:
            _fail(attempts, trouble)
            return
        trouble.with_traceback(None)  # its frames hold tensors of the failed forward pass
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        self.max_batch = max(1, len(attempts) // 2)
        with self._changed:
            # they continue their tokens, so each still gets the text of its seed
            self._waiting.extendleft(reversed(attempts))


def _fail(attempts: Iterable[Attempt], cause: BaseException) -> None:
    for attempt in attempts:
        message = str(cause) if isinstance(cause, EngineError) else f"the model broke: {cause!r}"
        attempt.end(FinishReason.FAILED, error=message, cause=cause)
