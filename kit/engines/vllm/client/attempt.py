"""One attempt at a text: what the pieces of a server add up to, over as many servers as it takes.

In: the prompt, and pieces as they stream in. Out: chunks for the watcher, and at any time the sample so far. The
attempt outlives its server: `prefix_ids` lets another server continue it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from kit.engines.text.transcript import Detokenizer, Follower, Transcript
from kit.engines.vllm.client.wire import Piece
from kit.errors import EngineError
from kit.models.calls.form import CallForm
from kit.models.calls.hermes import HERMES
from kit.models.calls.splitting import with_tool_calls
from kit.models.gpt_oss import HarmonyReader
from kit.sampling import FinishReason, OnChunk, Prompt, Sample, SamplingParams, TokenStats

_FINISHES = {"stop": FinishReason.STOP, "length": FinishReason.LENGTH}
_REPLAY_STRIDE = 0x9E3779B97F4A7C15  # 2**64 / the golden ratio: neighbouring seeds stay apart


class Vocabulary:
    """The texts of a server that tells no token ids: each gets the next number."""

    def __init__(self) -> None:
        self._words: list[str] = []

    def add(self, word: str) -> int:
        """The number of a new text."""
        self._words.append(word)
        return len(self._words) - 1

    def decode(self, ids: Sequence[int]) -> str:
        """The texts, one after another."""
        return "".join(self._words[id_] for id_ in ids)


class HarmonyDetokenizer(Detokenizer):
    """Token ids of a turn in Harmony's form to its text in the kit's form."""

    def __init__(self, decode: Callable[[Sequence[int]], str], *, so_far: str) -> None:
        super().__init__(decode)
        self._reader = HarmonyReader(so_far=so_far)

    def add(self, ids: Sequence[int], *, is_last: bool = False) -> str:
        """See Detokenizer."""
        return self._reader.add(super().add(ids, is_last=is_last), is_last=is_last)


class Attempt:
    """One attempt under way.

    decode: ids to text; None: the server tells texts only. opening: what stands in front of the text. context: the
    last ids before it, where it continues a turn. harmony_so_far: for gpt-oss, the turn that it continues or an empty
    text; None for others. call_form: how its calls are written.
    """

    def __init__(
        self,
        prompt: Prompt,
        params: SamplingParams,
        on_chunk: OnChunk | None,
        *,
        prompt_ids: tuple[int, ...],
        decode: Callable[[Sequence[int]], str] | None,
        opening: str = "",
        context: Sequence[int] = (),
        harmony_so_far: str | None = None,
        call_form: CallForm = HERMES,
    ) -> None:
        self._call_form = call_form
        self.prompt = prompt
        self.params = params
        self.prompt_ids = prompt_ids
        self.finish: FinishReason | None = None
        self.error = ""
        self.num_replays = 0
        self.num_tokens = 0
        self._ids: list[int] = []
        self._token_stats: list[TokenStats] = []
        self._vocabulary: Vocabulary | None = None
        if decode is None:
            self._vocabulary = Vocabulary()
            decode = self._vocabulary.decode
        if harmony_so_far is None:
            detokenizer = Detokenizer(decode, context=context)
        else:
            detokenizer = HarmonyDetokenizer(decode, so_far=harmony_so_far)
        self._transcript = Transcript(detokenizer, opening=opening, stop=params.stop)
        self._follower: Follower | None = None
        if params.stop or on_chunk is not None:
            self._follower = Follower(
                self._transcript, on_chunk, lambda begin, end: tuple(self._token_stats[begin:end])
            )

    @property
    def prefix_ids(self) -> tuple[int, ...] | None:
        """The prompt and the text so far, for a server to continue; None where the text has no ids."""
        if self._vocabulary is not None:
            return None if self.num_tokens else self.prompt_ids
        return (*self.prompt_ids, *self._ids)

    @property
    def seed(self) -> int:
        """Of the next request; a replay has another one, since its first tokens must not repeat earlier noise."""
        return (self.params.seed + self.num_replays * _REPLAY_STRIDE) % 2**63

    @property
    def num_tokens_left(self) -> int:
        """Of max_new_tokens."""
        return self.params.max_new_tokens - self.num_tokens

    def take(self, piece: Piece) -> FinishReason | None:
        """Take in a piece; returns why the attempt ends with it, or None.

        Raises: EngineError if the watcher does, or for a finish that means an error.
        """
        assert self.finish is None
        ends = self._finish_of(piece.finish)
        for place, id_ in enumerate(ids := self._ids_of(piece)):
            is_last = place == len(ids) - 1
            self._note(id_, piece.token_stats[place : place + 1])
            if self._follower is not None:
                self.finish = self._follower(id_, ends if is_last else None)
            if self.finish is not None:
                return self.finish
        if ends is not None and self._follower is not None:
            self._transcript.add([], is_last=True)  # what had waited for more
        self.finish = ends
        return ends

    def as_sample(self, *, seconds: float, depth: int | None = None) -> Sample:
        """The attempt as it is now; for one call only. depth: of a server that recurses."""
        finish = self.finish or FinishReason.DEADLINE
        if self._follower is None:
            # nobody followed it, so it is read in one go; the end token is no text
            self._transcript.add(self._ids[:-1] if finish is FinishReason.STOP else self._ids, is_last=True)
        token_stats = tuple(self._token_stats) if len(self._token_stats) == self.num_tokens else ()
        sample = Sample(
            text=self._transcript.text,
            num_tokens=self.num_tokens,
            finish=finish,
            seconds=seconds,
            seed=self.params.seed,
            mean_logprob=_mean([token.logprob for token in token_stats]),
            mean_entropy=_mean([token.entropy for token in token_stats]),
            error=self.error,
            token_stats=token_stats,
            depth=depth,
        )
        return with_tool_calls(sample, self.prompt, self._call_form) if self.prompt.tools else sample

    def fail(self, error: str) -> None:
        """End it with what there is."""
        self.finish, self.error = FinishReason.FAILED, error

    def _finish_of(self, word: str) -> FinishReason | None:
        if not word:
            return None
        if word not in _FINISHES:  # vLLM's "abort" and "error"
            raise EngineError(f"the server ended the text with {word!r}")
        return _FINISHES[word]

    def _note(self, id_: int, token_stats: tuple[TokenStats, ...]) -> None:
        self.num_tokens += 1
        self._ids.append(id_)
        self._token_stats += token_stats

    def _ids_of(self, piece: Piece) -> tuple[int, ...]:
        """The tokens of a piece: the server's ids, or our numbers for its texts."""
        if self._vocabulary is None:
            if piece.token_ids is None and (piece.text or piece.num_tokens):
                raise EngineError("the server tells no token ids; open the engine with tells_ids=False for it")
            return piece.token_ids or ()
        texts = [piece.text, *[""] * (piece.num_tokens - 1)] if piece.num_tokens else []
        # the follower takes the last token of a finished text for its end token, which has no text
        if _FINISHES.get(piece.finish) is FinishReason.STOP:
            texts.append("")
        return tuple(self._vocabulary.add(text) for text in texts)


def _mean(values: list[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None
