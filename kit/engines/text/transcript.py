"""The text of an attempt while its tokens come: detokenising, stop texts, and chunks for a watcher.

In: token ids, one or many at a time. Out: complete text, each piece once. The cost of a token does not grow with the
text. An attempt without stop texts and watcher is read at its end, in one go.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kit.engines.text.stop_strings import end_of_stop, show
from kit.sampling import Chunk, FinishReason, OnChunk, TokenStats

_UNFINISHED = "\ufffd"  # what decoders write for bytes that are no character, or no whole one
_MAX_WAITING = 32  # tokens; a character has four bytes at most, so more tokens are no unfinished one


class Detokenizer:
    """Token ids to text, piece by piece.

    A character may take several tokens, and some decoders drop a space in front of the first token. So the tokens are
    decoded together with those before them, and only the addition is new.
    decode: ids to text. context: earlier ids, whose text the caller has.
    Source: the offsets of text-generation-inference and vLLM.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str], *, context: Sequence[int] = ()) -> None:
        self._decode = decode
        self._told = list(context)
        self._told_text = decode(self._told) if context else ""
        self._waiting: list[int] = []

    def add(self, ids: Sequence[int], *, is_last: bool = False) -> str:
        """The text that these ids complete; with `is_last` also an unfinished rest."""
        self._waiting += ids
        if not self._waiting:
            return ""
        text = self._decode(self._told + self._waiting)
        has_news = len(text) > len(self._told_text)
        is_complete = has_news and not text.endswith(_UNFINISHED)
        if not (is_complete or is_last or len(self._waiting) >= _MAX_WAITING):
            return ""
        new = text[len(self._told_text) :]
        if has_news and not is_last:
            self._told, self._told_text = self._waiting, self._decode(self._waiting)
        self._waiting = []
        return new


class Transcript:
    """The text of one attempt so far; one thread writes it, any may read `text`.

    opening: what stands in front. stop: the text ends after the first of these.
    """

    def __init__(self, detokenizer: Detokenizer, *, opening: str = "", stop: tuple[str, ...] = ()) -> None:
        self._detokenizer = detokenizer
        self._opening = opening
        self._stop = stop
        self._num_kept = max(map(len, stop), default=1) - 1
        self._tail = ""  # what a stop text may have begun in
        self._pieces: list[str] = []
        self.is_stopped = False

    @property
    def text(self) -> str:
        """All of it so far."""
        return "".join(self._pieces) or self._opening

    def add(self, ids: Sequence[int], *, is_last: bool = False) -> str:
        """Continue the text; returns the addition. Not allowed once `is_stopped`."""
        assert not self.is_stopped
        new = self._up_to_stop(self._detokenizer.add(ids, is_last=is_last))
        if new and not self._pieces:
            new = self._opening + new
        if new:
            self._pieces.append(new)  # the opening with it, so that a reader sees both or neither
        return new

    def _up_to_stop(self, new: str) -> str:
        if not (self._stop and new):
            return new
        seen = self._tail + new
        end = end_of_stop(seen, self._stop)
        if end is None:
            self._tail = seen[max(0, len(seen) - self._num_kept) :]
            return new
        self.is_stopped = True
        return seen[len(self._tail) : end]


class Follower:
    """Reads an attempt's tokens as they come, and says when it ends. token_stats: of a range of its tokens."""

    def __init__(
        self,
        transcript: Transcript,
        on_chunk: OnChunk | None,
        token_stats: Callable[[int, int], tuple[TokenStats, ...]],
    ) -> None:
        self._transcript = transcript
        self._on_chunk = on_chunk
        self._token_stats = token_stats
        self._num_tokens = 0
        self._num_shown = 0

    def __call__(
        self, token_id: int, finish: FinishReason | None, *, ends_in_text: bool = False
    ) -> FinishReason | None:
        """Take in one token; returns why the attempt ends with it, or None. finish: the token's own.

        ends_in_text: whether a token that ends the attempt by STOP is text and no end token.

        Raises: EngineError if the watcher does.
        """
        self._num_tokens += 1
        is_end_token = finish is FinishReason.STOP and not ends_in_text
        new = self._transcript.add([] if is_end_token else [token_id], is_last=finish is not None)
        if self._transcript.is_stopped:
            finish = FinishReason.STOP
        # a token that completes no character waits for the next; the last token shows the rest
        if self._on_chunk is not None and (new or finish) and self._show(self._on_chunk, new):
            return FinishReason.ABORTED
        return finish

    def _show(self, on_chunk: OnChunk, text: str) -> bool:
        begin, self._num_shown = self._num_shown, self._num_tokens
        token_stats = self._token_stats(begin, self._num_tokens)
        return show(on_chunk, Chunk(text=text, num_tokens=self._num_tokens - begin, token_stats=token_stats))
