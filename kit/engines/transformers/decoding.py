"""The decode loop's one turn: attempts become rows, rows get a token each, finished rows leave.

In: attempts (token ids and params). Out: the same attempts with tokens and a finish. No thread, clock or text here. A
follower hears of each token before the next forward pass, so an attempt that it ends costs no further pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from random import Random
from typing import Any, NamedTuple

import torch

from kit.engines.transformers.batch import Batch
from kit.engines.transformers.token_sampling import Settings, draw, presence_penalties, settings_of
from kit.errors import EngineError
from kit.sampling import FinishReason, SamplingParams

# Tokens of one prefill, padding included: enough for a matrix product to be worth its name, and few enough that rows of
# like length go together.
PREFILL_TOKENS = 1024


class Token(NamedTuple):
    """One new token; logprob, entropy and confidence of the unwarped model, in nats."""

    id: int
    logprob: float
    entropy: float
    confidence: float


@dataclass(slots=True, kw_only=True, eq=False)
class Attempt:
    """One call's generation, shared between the calling thread and the decoding one.

    The decoding thread writes tokens, error, cause and finish, then calls `wake`, once. The calling thread writes only
    is_cancelled. `tokens` only grows, so a reader always sees a whole prefix.
    max_new_tokens: params.max_new_tokens, or what the model's context leaves. cause: what broke the loop.
    follow: called in the decoding thread with each token's id and own finish; returns the finish to have, and raises
        EngineError to fail this attempt.
    """

    prompt_ids: tuple[int, ...]
    params: SamplingParams
    max_new_tokens: int
    wake: Callable[[], object] = lambda: None
    follow: Callable[[int, FinishReason | None], FinishReason | None] | None = None
    tokens: list[Token] = field(default_factory=list)
    is_cancelled: bool = False
    finish: FinishReason | None = None
    error: str = ""
    cause: BaseException | None = None

    @property
    def is_running(self) -> bool:
        """Whether more tokens are wanted."""
        return self.finish is None and not self.is_cancelled

    def end(self, finish: FinishReason, *, error: str = "", cause: BaseException | None = None) -> None:
        """Set the outcome and wake the caller."""
        self.error, self.cause = error, cause
        self.finish = finish  # last: a caller that sees it may read the rest
        self.wake()


class Decoder:
    """A batch of attempts and the model that continues them; owned by one thread. eos_ids: any of them ends a row."""

    def __init__(self, model: Any, *, eos_ids: frozenset[int]) -> None:
        self._batch = Batch(model)
        self._eos_ids = eos_ids
        self._attempts: list[Attempt] = []
        self._noise: list[Random] = []
        self._settings: Settings | None = None

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """The attempts in the batch, in row order."""
        return tuple(self._attempts)

    @property
    def num_columns(self) -> int:
        """Columns of the cache."""
        return self._batch.num_columns

    def clear(self) -> None:
        """Forget every row, also after a failure half-way."""
        self._attempts, self._noise = [], []
        self._batch.clear()

    def drop_cancelled(self) -> None:
        """Take cancelled rows out of the batch."""
        self._keep(self._running_rows())

    def admit(self, attempts: Sequence[Attempt]) -> None:
        """Prefill attempts and merge them into the batch; one that has tokens continues them, with its own noise."""
        self._admit(attempts)

    @torch.inference_mode()
    def _admit(self, attempts: Sequence[Attempt], *, kind: Hashable = None) -> None:
        """Attempts of one kind may share what they begin with."""
        num_shared = self._batch.share([sequence_of(attempt) for attempt in attempts], kind=kind)
        for group in prefill_groups(attempts, num_shared=num_shared):
            self._prefill(group, kind=kind)

    def _prefill(self, attempts: Sequence[Attempt], *, kind: Hashable) -> None:
        """Add attempts as rows in one forward pass."""
        self._batch.add([sequence_of(attempt) for attempt in attempts], kind=kind)
        self._attempts += attempts
        self._noise += [_noise_after(attempt) for attempt in attempts]
        self._settings = None

    @torch.inference_mode()
    def step(self) -> None:
        """Draw a token for every row, drop the finished rows and run the model for the others."""
        logits_BV = self._batch.logits_BV
        if self._settings is None:
            params_B = [attempt.params for attempt in self._attempts]
            self._settings = settings_of(params_B, vocab_size=logits_BV.shape[-1], device=logits_BV.device)
        uniform_B = torch.tensor([noise.random() for noise in self._noise], dtype=torch.float64)
        drawn = draw(logits_BV, self._settings, uniform_B.to(logits_BV.device), self._penalties(logits_BV))
        # one transfer a step; float64 holds any token id exactly
        columns = torch.stack([column.double() for column in drawn]).tolist()
        for attempt, token_id, *token_stats in zip(self._attempts, *columns, strict=True):
            self._record(attempt, Token(int(token_id), *token_stats))
        rows = self._running_rows()
        token_B = drawn.token_B if len(rows) == len(self._attempts) else drawn.token_B[rows]
        self._keep(rows)
        if rows:
            self._batch.advance(token_B)

    def _penalties(self, logits_BV: torch.Tensor) -> torch.Tensor | None:
        return presence_penalties(
            [attempt.params for attempt in self._attempts],
            [
                [token.id for token in attempt.tokens] if attempt.params.presence_penalty else []
                for attempt in self._attempts
            ],
            vocab_size=logits_BV.shape[-1],
            device=logits_BV.device,
        )

    def _running_rows(self) -> list[int]:
        """The rows that go on, the last of them in the places of those that do not: so the cache moves least."""
        is_running = [attempt.is_running for attempt in self._attempts]
        num_running = sum(is_running)
        moved = iter(row for row in range(num_running, len(is_running)) if is_running[row])
        return [row if is_running[row] else next(moved) for row in range(num_running)]

    def _record(self, attempt: Attempt, token: Token) -> None:
        if not math.isfinite(token.entropy):
            error = f"the model's logits were NaN or infinite after {len(attempt.tokens)} new tokens"
            attempt.end(FinishReason.FAILED, error=f"{error}; try dtype='float32', or check the weights")
            return
        attempt.tokens.append(token)
        finish = None
        if token.id in self._eos_ids:
            finish = FinishReason.STOP
        elif len(attempt.tokens) >= attempt.max_new_tokens:
            finish = FinishReason.LENGTH
        try:
            if attempt.follow is not None and not attempt.is_cancelled:
                finish = attempt.follow(token.id, finish)
        except EngineError as error:
            attempt.end(FinishReason.FAILED, error=str(error), cause=error)
            return
        if finish is not None:
            attempt.end(finish)

    @torch.inference_mode()
    def _keep(self, rows: list[int]) -> None:
        if len(rows) == len(self._attempts):
            return
        if not rows:
            self.clear()
            return
        self._attempts = [self._attempts[row] for row in rows]
        self._noise = [self._noise[row] for row in rows]
        self._settings = None
        self._batch.keep(rows)


def sequence_of(attempt: Attempt) -> tuple[int, ...]:
    """The token ids that an attempt goes on from."""
    return attempt.prompt_ids + tuple(token.id for token in attempt.tokens)


def prefill_groups(attempts: Sequence[Attempt], *, num_shared: int) -> list[list[Attempt]]:
    """The attempts in the order of their lengths, as many at a time as fill PREFILL_TOKENS: so little is padding.

    Equal sequences, of which one is computed, stay together. num_shared: tokens of each that need no computing.
    """
    by_length = sorted(attempts, key=lambda attempt: (len(sequence_of(attempt)), sequence_of(attempt)))
    groups: list[list[Attempt]] = []
    num_distinct = 0
    for sequence, equal in groupby(by_length, key=sequence_of):
        num_distinct += 1
        if not groups or num_distinct * (len(sequence) - num_shared) > PREFILL_TOKENS:
            groups.append([])
            num_distinct = 1
        groups[-1] += equal
    return groups


def _noise_after(attempt: Attempt) -> Random:
    """The attempt's uniform numbers after its tokens, one a token.

    The standard library's generator gives the same numbers on every device and torch version, mixes neighbouring seeds
    well, and is fifty times cheaper than torch's for one number.
    """
    noise = Random(attempt.params.seed)
    for _ in attempt.tokens:
        noise.random()
    return noise
