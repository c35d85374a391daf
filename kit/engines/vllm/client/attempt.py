"""One attempt at a text: what the pieces of a server add up to, over as many servers as it takes.

In: the prompt, and pieces as they stream in. Out: chunks for the watcher, and at any time the sample so far. The
attempt outlives its server: `prefix_ids` lets another server continue it.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from kit.engines.text.transcript import Detokenizer, Follower, Transcript
from kit.engines.vllm.client.endpoint import Address
from kit.engines.vllm.client.faults import BrokenError
from kit.engines.vllm.client.wire import Piece
from kit.errors import EngineError
from kit.models.calls.form import CallForm
from kit.models.calls.hermes import HERMES
from kit.models.calls.splitting import with_tool_calls
from kit.models.gpt_oss import HarmonyReader
from kit.sampling import FinishReason, OnChunk, Prompt, Sample, SamplingParams, TokenStats

_FINISHES = {
    **dict.fromkeys(("stop", "eos", "eos_token", "end_turn", "stop_sequence", "tool_calls"), FinishReason.STOP),
    **dict.fromkeys(("length", "max_tokens", "model_length"), FinishReason.LENGTH),
}
_BREAK = re.compile(
    r"abort|cancel|error|fail|kill|crash|lost|shut_?down|preempt|evict|disconnect|interrupt|oom\b|memory|unavailable"
    r"|timed?_?out|deadline|resource|reject|overload|by_server"
)
"""In what a server says of a text that it lost; such a text goes on elsewhere (vllm-project/vllm issue 57082)."""
_TAIL_PIECES = 16  # in which the text of an end token may lie
_REPLAY_STRIDE = 0x9E3779B97F4A7C15  # 2**64 / the golden ratio: neighbouring seeds stay apart

log = logging.getLogger(__name__)


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
    text; None for others. call_form: how its calls are written. ends: the ids of end tokens, and the texts of the same.
    asked_at: where its request is open, since asked_s on the loop's clock. has_come: whether anything came of it.
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
        ends: Mapping[int, str] = MappingProxyType({}),
    ) -> None:
        self._call_form = call_form
        self.prompt = prompt
        self.params = params
        self.prompt_ids = prompt_ids
        self.finish: FinishReason | None = None
        self.error = ""
        self.num_replays = 0
        self.num_tokens = 0
        self.asked_at: Address | None = None
        self.asked_s = 0.0
        self.has_come = False
        self._ends = ends
        self._decode = decode
        self._has_end_token = False  # as its last
        self._ids: list[int] = []
        self._token_stats: list[TokenStats | None] = []
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
                self._transcript, on_chunk, lambda begin, end: _known(self._token_stats[begin:end])
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

        Raises: EngineError if the watcher does; BrokenError, after the piece's tokens, if the server lost the text.
        """
        assert self.finish is None
        ends = self._finish_of(piece.finish)
        ids = self._ids_of(piece)
        if len(ids) > self.num_tokens_left:
            ids, ends = self._without_excess(ids), FinishReason.LENGTH
        self._has_end_token = ends is FinishReason.STOP and self._ends_with_token(ids, piece.text)
        for place, id_ in enumerate(ids):
            self._note(id_, piece.token_stats[place] if piece.token_stats else None)
            if self._follower is not None:
                # an end token has no text; the texts of a server without ids are all text
                is_end = place == len(ids) - 1 and self._vocabulary is None
                self.finish = self._follower(id_, ends if is_end else None, ends_in_text=not self._has_end_token)
            if self.finish is not None:
                return self.finish
        if _BREAK.search(piece.finish):
            raise BrokenError(f"the server ended the text with {piece.finish!r}")
        if ends is not None:
            self._end(ends)
        return ends

    def end_of_stream(self) -> FinishReason | None:
        """After a stream that ended without a finish: STOP where its last token was an end token, else None."""
        if self._vocabulary is None:
            is_at_end = bool(self._ids) and self._ids[-1] in self._ends
        else:
            is_at_end = self._vocabulary.decode(self._ids[-_TAIL_PIECES:]).endswith(tuple(self._ends.values()))
        if is_at_end:
            self._has_end_token = self._vocabulary is None
            self._end(FinishReason.STOP)
        return self.finish

    def as_sample(self, *, seconds: float, depth: int | None = None) -> Sample:
        """The attempt as it is now; for one call only. depth: of a server that recurses."""
        finish = self.finish or FinishReason.DEADLINE
        if self._follower is None:
            # nobody followed it, so it is read in one go; the end token is no text
            self._transcript.add(self._ids[:-1] if self._has_end_token else self._ids, is_last=True)
        token_stats = _known(self._token_stats)
        sample = Sample(
            text=self._text(finish),
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

    def _text(self, finish: FinishReason) -> str:
        text = self._transcript.text
        if self._vocabulary is not None and finish is FinishReason.STOP:
            for end in self._ends.values():  # as servers write it that do not skip it
                text = text.removesuffix(end)
        return text

    def _finish_of(self, word: str) -> FinishReason | None:
        if not word or _BREAK.search(word):
            return None
        if word not in _FINISHES:  # "repetition", "content_filter": what there is stands
            log.warning("the server ended a text with %r, which is taken for a limit", word)
        return _FINISHES.get(word, FinishReason.LENGTH)

    def _ends_with_token(self, ids: Sequence[int], text: str) -> bool:
        """Whether the last of a finishing piece's ids is an end token, and no text: servers may leave that one out."""
        if self._decode is None or not ids:
            return False
        if ids[-1] in self._ends or not text:
            return True
        own = self._decode(ids[-1:])
        is_text = bool(own) and (text.endswith(own) or "\N{REPLACEMENT CHARACTER}" in own)  # the last bytes of one
        return not is_text

    def _end(self, finish: FinishReason) -> None:
        if self._follower is not None:
            self._transcript.add([], is_last=True)  # what had waited for more
        self.finish = finish

    def _without_excess(self, ids: tuple[int, ...]) -> tuple[int, ...]:
        """Of a server that gives more tokens than it was asked for; a text without ids cannot be cut."""
        left = self.num_tokens_left
        return ids[:left] if self._vocabulary is None or left <= 0 else ids

    def _note(self, id_: int, token_stats: TokenStats | None) -> None:
        self.num_tokens += 1
        self._ids.append(id_)
        self._token_stats.append(token_stats)

    def _ids_of(self, piece: Piece) -> tuple[int, ...]:
        """The tokens of a piece: the server's ids, or our numbers for its texts."""
        if self._vocabulary is None:
            if piece.token_ids is None and (piece.text or piece.num_tokens):
                raise EngineError("the server tells no token ids; open the engine with tells_ids=False for it")
            return piece.token_ids or ()
        texts = [*[""] * (piece.num_tokens - 1), piece.text] if piece.num_tokens else []
        return tuple(self._vocabulary.add(text) for text in texts)


def _known(token_stats: Sequence[TokenStats | None]) -> tuple[TokenStats, ...]:
    return tuple(each for each in token_stats if each is not None)


def _mean(values: list[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None
