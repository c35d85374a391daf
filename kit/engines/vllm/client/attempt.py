"""One attempt at a text: what a server's pieces add up to, over as many servers as it takes.

In: the prompt, and pieces as they stream in. Out: chunks for the watcher, and at any time the sample so far. What is
known of the attempt outlives the server that said it, so that another may go on after it (`prefix_ids`).
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Sequence

from kit.engines.text.transcript import Detokenizer, Follower, Transcript
from kit.engines.vllm.client.wire import JsonObject, Piece
from kit.errors import EngineError
from kit.models.harmony import HarmonyReader
from kit.models.hermes import with_tool_calls
from kit.sampling import FinishReason, OnChunk, Prompt, Sample, SamplingParams, TokenStats, ToolCall

_FINISHES = {
    "stop": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "tool_calls": FinishReason.STOP,
    "function_call": FinishReason.STOP,
}
_THINK, _END_OF_THOUGHT = "<think>", "</think>"
_REPLAY_STRIDE = 0x9E3779B97F4A7C15  # 2**64 / the golden ratio: neighbouring seeds stay apart


class Vocabulary:
    """The words of a server that tells no token ids: each gets the next number."""

    def __init__(self) -> None:
        self._words: list[str] = []

    def add(self, word: str) -> int:
        """The number of a new word."""
        self._words.append(word)
        return len(self._words) - 1

    def decode(self, ids: Sequence[int]) -> str:
        """The words, one after another."""
        return "".join(self._words[id_] for id_ in ids)


class HarmonyDetokenizer(Detokenizer):
    """Token ids to the kit's form of a turn that the model writes in Harmony's."""

    def __init__(self, decode: Callable[[Sequence[int]], str], *, so_far: str) -> None:
        super().__init__(decode)
        self._reader = HarmonyReader(so_far=so_far)

    def add(self, ids: Sequence[int], *, is_last: bool = False) -> str:
        """See Detokenizer."""
        return self._reader.add(super().add(ids, is_last=is_last), is_last=is_last)


class Attempt:
    """One attempt under way.

    prompt_ids: empty where the server renders. decode: ids to text; None where the server's words are the text.
    opening: what stands in front of the text. context: ids before it, for a turn that is gone on with.
    harmony_so_far: for gpt-oss, the turn that is gone on with or empty; None for others.
    """

    def __init__(
        self,
        prompt: Prompt,
        params: SamplingParams,
        on_chunk: OnChunk | None,
        *,
        prompt_ids: tuple[int, ...] = (),
        decode: Callable[[Sequence[int]], str] | None = None,
        opening: str = "",
        context: Sequence[int] = (),
        harmony_so_far: str | None = None,
    ) -> None:
        self.prompt = prompt
        self.params = params
        self.prompt_ids = prompt_ids
        self.finish: FinishReason | None = None
        self.error = ""
        self.num_replays = 0
        self.num_tokens = 0
        self._ids: list[int] = []
        self._token_stats: list[TokenStats] = []
        self._calls: dict[int, dict[str, str]] = {}
        self._is_thinking = False
        self._vocabulary = None if decode else Vocabulary()
        spell = decode or self._words().decode
        if harmony_so_far is None:
            detokenizer = Detokenizer(spell, context=context)
        else:
            detokenizer = HarmonyDetokenizer(spell, so_far=harmony_so_far)
        self._transcript = Transcript(detokenizer, opening=opening, stop=params.stop)
        self._follower: Follower | None = None
        if params.stop or on_chunk is not None:
            self._follower = Follower(
                self._transcript, on_chunk, lambda begin, end: tuple(self._token_stats[begin:end])
            )

    @property
    def prefix_ids(self) -> tuple[int, ...] | None:
        """The prompt and all that has been said, for a server to go on after; None if that cannot be told in ids."""
        if self._vocabulary is not None:
            return None if self.num_tokens else self.prompt_ids
        return (*self.prompt_ids, *self._ids)

    @property
    def seed(self) -> int:
        """Of the next request: another one after a replay, or the noise of the first tokens would come again."""
        return (self.params.seed + self.num_replays * _REPLAY_STRIDE) % 2**63

    @property
    def num_tokens_left(self) -> int:
        """Of max_new_tokens."""
        return self.params.max_new_tokens - self.num_tokens

    def take(self, piece: Piece) -> FinishReason | None:
        """Take in what came; returns why the attempt ends with it, or None.

        Raises: EngineError if the watcher does, or for a finish that means an error.
        """
        assert self.finish is None
        ends = self._finish_of(piece.finish)
        self._gather(piece.calls)
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
        """The attempt as it is now; to be asked for once. depth: of a server that recurses."""
        finish = self.finish or FinishReason.DEADLINE
        if self._follower is None:
            # nobody has followed it, so it is read at its end, in one go; the end token by its place is no text
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
        return self._with_tool_calls(sample) if self.prompt.tools and finish is FinishReason.STOP else sample

    def fail(self, error: str) -> None:
        """End it with what there is."""
        self.finish, self.error = FinishReason.FAILED, error

    def _finish_of(self, word: str) -> FinishReason | None:
        if not word:
            return None
        if word not in _FINISHES:  # vLLM's "abort" and "error", a hosted server's "content_filter"
            raise EngineError(f"the server ended the text with {word!r}")
        return _FINISHES[word]

    def _note(self, id_: int, token_stats: tuple[TokenStats, ...]) -> None:
        self.num_tokens += 1
        self._ids.append(id_)
        self._token_stats += token_stats

    def _ids_of(self, piece: Piece) -> tuple[int, ...]:
        """The tokens of a piece: the server's numbers, or ours for its words."""
        if self._vocabulary is None:
            if piece.token_ids is None and (piece.text or piece.num_tokens):
                raise EngineError("the server tells no token ids; open the engine with tells_ids=False for it")
            return piece.token_ids or ()
        text = self._tagged(piece)
        words = [text, *[""] * (piece.num_tokens - 1)] if piece.num_tokens else []
        # the token that ends a text has no word, and the follower drops that of the last: it must not be a real one
        if piece.finish and _FINISHES.get(piece.finish) is FinishReason.STOP:
            words.append("")
        return tuple(self._vocabulary.add(word) for word in words)

    def _tagged(self, piece: Piece) -> str:
        """The words of a piece, with the tags that a chat server has taken off a thought."""
        said = ""
        if piece.thought:
            said += ("" if self._is_thinking else _THINK) + piece.thought
            self._is_thinking = True
        if self._is_thinking and (piece.text or piece.calls):
            said += _END_OF_THOUGHT
            self._is_thinking = False
        return said + piece.text

    def _gather(self, fragments: Sequence[JsonObject]) -> None:
        """Put the fragments of tool calls together, as chat servers stream them."""
        for fragment in fragments:
            call = self._calls.setdefault(fragment.get("index") or 0, {"id": "", "name": "", "arguments": ""})
            function = fragment.get("function") or {}
            call["id"] = call["id"] or fragment.get("id") or ""
            call["name"] += function.get("name") or ""
            call["arguments"] += function.get("arguments") or ""

    def _with_tool_calls(self, sample: Sample) -> Sample:
        if self._calls:
            calls = tuple(ToolCall(**call) for _, call in sorted(self._calls.items()) if _is_object(call["arguments"]))
            return dataclasses.replace(sample, tool_calls=calls)
        return with_tool_calls(sample, self.prompt)

    def _words(self) -> Vocabulary:
        assert self._vocabulary is not None
        return self._vocabulary


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def _mean(values: list[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None
