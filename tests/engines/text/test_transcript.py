"""Detokenising piece by piece equals detokenising at once; stop texts; what a watcher is shown."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.assets import TINY_MODEL
from kit.engines.text.tokenizer import load_tokenizer
from kit.engines.text.transcript import Detokenizer, Follower, Transcript
from kit.errors import EngineError
from kit.sampling import FinishReason, TokenStats
from tests.engines import tiny
from tests.engines.contract import Watcher

texts = st.text(st.sampled_from("ab xé漢字🙂\u200d\u0305\ufffd\n"), max_size=30)


@cache
def tokenizer_of(kind: str) -> Any:
    return load_tokenizer(TINY_MODEL) if kind == "byte-level" else tiny.byte_fallback_tokenizer()


def decoder_of(kind: str) -> Callable[[Sequence[int]], str]:
    def decode(ids: Sequence[int]) -> str:
        text: str = tokenizer_of(kind).decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text

    return decode


def encode(kind: str, text: str) -> list[int]:
    return list(tokenizer_of(kind)(text, add_special_tokens=False)["input_ids"])


def pieces(decode: Callable[[Sequence[int]], str], ids: Sequence[int]) -> list[str]:
    detokenizer = Detokenizer(decode)
    return [*(detokenizer.add([one]) for one in ids), detokenizer.add([], is_last=True)]


def letters(ids: Sequence[int]) -> str:
    return "".join(map(chr, ids))


@pytest.mark.parametrize("kind", ["byte-level", "byte-fallback"])
@settings(max_examples=150)
@given(text=texts)
def test_the_pieces_of_a_text_are_the_text_and_none_is_half_a_character(kind: str, text: str) -> None:
    decode, ids = decoder_of(kind), encode(kind, text)
    told = pieces(decode, ids)
    assert "".join(told) == decode(ids)
    assert sum(piece.count("\ufffd") for piece in told) == decode(ids).count("\ufffd")


@settings(max_examples=150)
@given(data=st.data())
def test_the_pieces_of_any_tokens_are_their_text(data: st.DataObject) -> None:
    """Also of special tokens and of bytes that are no text."""
    num_ids = len(tokenizer_of("byte-level"))
    ids = data.draw(st.lists(st.integers(0, num_ids - 1), max_size=30))
    decode = decoder_of("byte-level")
    assert "".join(pieces(decode, ids)) == decode(ids)


def test_a_text_gone_on_with_keeps_the_space_before_its_first_word() -> None:
    decode = decoder_of("byte-fallback")
    before, after = encode("byte-fallback", "a b"), encode("byte-fallback", "b a")
    assert Detokenizer(decode).add(after, is_last=True) == "b a"
    assert Detokenizer(decode, context=before).add(after, is_last=True) == " b a"
    detokenizer = Detokenizer(decode, context=before)
    assert [detokenizer.add([one]) for one in after] == [" b", " a"]


@pytest.mark.parametrize("ids", [[0xFF], list(range(0x80, 0xC0)), [-1]], ids=["no text", "no text either", "special"])
def test_a_token_costs_the_same_however_many_came_before(ids: list[int]) -> None:
    """Whatever they are: a model that breaks down writes bytes that never become a character."""
    num_decoded = 0

    def decode(window: Sequence[int]) -> str:
        nonlocal num_decoded
        num_decoded += len(window)
        return bytes(one for one in window if one >= 0).decode(errors="replace")

    detokenizer = Detokenizer(decode)
    noise = random.Random(0)
    for _ in range(2000):
        detokenizer.add([noise.choice(ids)])
    assert num_decoded <= 2000 * 65
    assert Detokenizer(decode).add(list("é".encode()), is_last=True) == "é"


@settings(max_examples=300)
@given(
    text=st.text("ab", max_size=12),
    stop=st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=3).map(tuple),
    data=st.data(),
)
def test_a_text_ends_with_the_shortest_beginning_that_holds_a_stop_text(
    text: str, stop: tuple[str, ...], data: st.DataObject
) -> None:
    """However it is cut into pieces."""
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)))) | {0, len(text)})
    transcript = Transcript(Detokenizer(letters), stop=stop)
    gained = []
    for begin, end in pairwise(cuts):
        gained.append(transcript.add([ord(letter) for letter in text[begin:end]]))
        if transcript.is_stopped:
            break
    beginnings = [text[:end] for end in range(len(text) + 1)]
    stopped = [beginning for beginning in beginnings if any(one in beginning for one in stop)]
    assert transcript.is_stopped == bool(stopped)
    assert transcript.text == (stopped[0] if stopped else text)
    assert "".join(gained) == transcript.text


def test_the_opening_comes_with_the_first_text() -> None:
    transcript = Transcript(Detokenizer(letters), opening="<think>")
    assert transcript.text == "<think>"
    assert [transcript.add([ord("a")]), transcript.add([ord("b")])] == ["<think>a", "b"]
    assert transcript.text == "<think>ab"


def follower(watcher: Watcher, **settings: Any) -> Follower:
    """Over two tokens a character, as in UTF-16 with the high byte first; token_stats numbers its token."""

    def decode(ids: Sequence[int]) -> str:
        return bytes(ids).decode("utf-16-be", errors="replace")

    def token_stats(begin: int, end: int) -> tuple[TokenStats, ...]:
        return tuple(TokenStats(logprob=-float(number), entropy=0.0) for number in range(begin, end))

    return Follower(Transcript(Detokenizer(decode), **settings), watcher, token_stats)


def test_a_token_that_completes_no_character_is_shown_with_the_one_that_does() -> None:
    watcher = Watcher()
    follow = follower(watcher)
    assert [follow(0, None), follow(97, None), follow(0, None), follow(0xFF, FinishReason.STOP)] == [None] * 3 + [
        FinishReason.STOP
    ]
    assert [(chunk.text, chunk.num_tokens) for chunk in watcher.chunks] == [("a", 2), ("\ufffd", 2)]
    assert [[-token.logprob for token in chunk.token_stats] for chunk in watcher.chunks] == [[0, 1], [2, 3]]


def test_a_watcher_ends_an_attempt_whatever_its_last_token_says() -> None:
    assert follower(Watcher(enough=1))(97, FinishReason.LENGTH) is FinishReason.ABORTED
    assert follower(Watcher(), stop=("\ufffd",))(97, FinishReason.LENGTH) is FinishReason.STOP


def test_a_watcher_that_raises_is_named() -> None:
    def watcher(_chunk: object) -> bool:
        raise KeyError("gone")

    follow = Follower(Transcript(Detokenizer(letters)), watcher, lambda _begin, _end: ())
    with pytest.raises(EngineError, match="watcher of this attempt broke: KeyError"):
        follow(97, None)
