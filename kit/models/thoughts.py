"""Thoughts in a text of any family's, whole or broken off anywhere; pure."""

from __future__ import annotations

from kit.models.family import TAGS
from kit.models.gpt_oss import ends_in_final

THINK, END_OF_THOUGHT = TAGS.thought


def is_thinking(text: str) -> bool:
    """Whether a thought in tags is open at the end."""
    return text.rfind(THINK) > text.rfind(END_OF_THOUGHT)


def thought_closed(text: str) -> str:
    """The text, with the thought closed that is open at its end."""
    return f"{text}\n{END_OF_THOUGHT}" if is_thinking(text) else text


def breaks_off_in_thought(text: str) -> bool:
    """Whether the text ends within a thought: one in tags, or gpt-oss's before its final channel."""
    is_final = ends_in_final(text)
    return is_thinking(text) if is_final is None else not is_final
