"""Bounded memory for unbounded output."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kit.sandbox.transcript import Transcript

pieces = st.lists(st.binary(max_size=40), max_size=30)


def transcript_of(written: list[bytes], limit_bytes: int) -> Transcript:
    transcript = Transcript(limit_bytes)
    for piece in written:
        transcript.add(piece)
    return transcript


@given(st.text(max_size=200), st.integers(1, 7))
def test_what_fits_is_kept_whole(text: str, step: int) -> None:
    data = text.encode(errors="replace")
    transcript = transcript_of([data[begin : begin + step] for begin in range(0, len(data), step)], 1000)
    assert not transcript.is_cut
    assert transcript.text() == data.decode()


@given(pieces, st.integers(2, 300))
def test_head_and_tail_are_those_of_the_whole(written: list[bytes], limit_bytes: int) -> None:
    whole = bytes(byte & 0x7F for byte in b"".join(written))
    transcript = transcript_of([bytes(byte & 0x7F for byte in piece) for piece in written], limit_bytes)
    if len(whole) <= limit_bytes:
        assert transcript.text() == whole.decode()
    else:
        head, tail = limit_bytes // 2, limit_bytes - limit_bytes // 2
        note = f"\n[... {len(whole) - limit_bytes} bytes left out ...]\n"
        assert transcript.text() == whole[:head].decode() + note + whole[-tail:].decode()


@given(st.text(st.sampled_from("aé€😀"), min_size=200), st.integers(8, 60))
def test_a_cut_breaks_no_character(text: str, limit_bytes: int) -> None:
    transcript = transcript_of([text.encode()], limit_bytes)
    head, _, tail = transcript.text().split("\n")
    assert text.startswith(head)
    assert text.endswith(tail)
    assert len(head.encode()) > limit_bytes // 2 - 4
    assert len(tail.encode()) > limit_bytes // 2 - 4


@given(pieces, st.integers(2, 50))
def test_any_bytes_become_text(written: list[bytes], limit_bytes: int) -> None:
    assert len(transcript_of(written, limit_bytes).text()) <= limit_bytes + 40
