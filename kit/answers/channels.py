"""What a completion says rather than thinks: its final channel, in the marks of any model family.

The final channel: gpt-oss's `<|channel|>final<|message|>` messages (or what follows "assistantfinal", what is left of
that where the engine drops special tokens); for models that think in tags, what stands outside `<think>…</think>`,
where a `</think>` that nothing opened ends a thought that the prompt opened; any other text is final as a whole. So a
second thought never beats the answer already given. What follows an end-of-turn token is not the model's.

The marks of all families stand in the tables here and nowhere else in this room. Total on any str, in linear time.
Written down from knowledge of the models named beside each mark; not yet checked against their chat templates.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

# Names of tags around a thought, `<name>` and `</name>`, in small or capital letters, perhaps with a prefix (`seed:`).
# think: Qwen3, DeepSeek-R1, GLM, Kimi-K2; seed:think: Seed-OSS; longcat_think: LongCat; thought: EXAONE Deep;
# thinking, reflection: Reflection-70B and prompts after it; reasoning: prompts of GRPO recipes; the rest: prompts.
THOUGHT_TAGS = (
    "think", "thinking", "thought", "thoughts", "reasoning", "longcat_think", "thought_process", "inner_thoughts",
    "internal_thoughts", "inner_monologue", "analysis", "reflection", "scratchpad", "cot", "reason", "chain_of_thought",
    "reasoning_content", "internal", "brainstorm", "ponder", "draft", "plan", "planning", "working", "workings",
)  # fmt: skip
# Any other name that has one of these in it is a thought's, too; and each name may stand in a token: `<|think|>`.
_ANY_THOUGHT = (
    r"[a-z_-]{0,20}?(?:think|reason|thought|reflect|deliberat|contemplat|rationale|scratch)[a-z_-]{0,20}"
    r"|(?:[a-z]{1,20}[_-])?cot(?:[_-][a-z]{1,20})?"
)
INNER_TAGS = frozenset({"reflection", "scratchpad", "inner_monologue"})
"""Tags that may stand within another thought, and do not end it."""
# Special tokens around a thought: begin, end.
THOUGHT_TOKENS = (
    ("<|begin_of_thought|>", "<|end_of_thought|>"),  # Sky-T1, OpenThinker
    ("<|im_start|>think", "<|im_start|>answer"),  # s1
    ("<|START_THINKING|>", "<|END_THINKING|>"),  # Command A Reasoning
    ("<|inner_prefix|>", "<|inner_suffix|>"),  # Apertus
    ("<|channel>thought", "<channel|>"),  # Gemma 4
    ("<unused94>thought", "<unused95>"),  # MedGemma
)
# Marks of another form than the tags and tokens above, and what is read for them.
_SPELLED = (
    ("[THINK]", "<think>"), ("[/THINK]", "</think>"),  # Magistral
    ("◁think▷", "<think>"), ("◁/think▷", "</think>"),  # Kimi-VL, Kimina
    (r"<\think>", "</think>"),  # Phi-4-reasoning, as its own system prompt writes it
    ("[INST]", "<|user|>"), ("[TOOL_CALLS]", "<|tool_call|>"),  # Mistral
    ("[TOOL_RESULTS]", "<|tool_response|>"), ("[/TOOL_RESULTS]", "<|/tool_response|>"),
    ("<|begin_of_box|>", r"\boxed{"), ("<|end_of_box|>", "}"),  # GLM-4.1V, GLM-4.5V
)  # fmt: skip
TURN_ENDS = (
    "im_end im_start endoftext end_of_text eot_id eom_id start_header_id return end start call channel user system"
    " observation endofturn end_of_turn END_OF_TURN_TOKEN EOT eot endofassistant end_of_role"
).split()

_CHANNEL = "<|channel|>"
# A thought as a page folds it away.
_FOLDED = re.compile(
    r"<details>\s*+<summary>(?=[^<\n]{0,40}?(?:think|thought|reason))[^<\n]{0,80}+</summary>.*?(?:</details>|\Z)",
    re.IGNORECASE | re.DOTALL,
)
_FINAL = re.compile(r"<\|channel\|>\s*final\b(?:\s*<\|constrain\|>\s*\w*)?\s*<\|message\|>")
BARE_ANALYSIS = re.compile(r"analysis(?=[A-Z])|(?s:analysis\b.*assistantfinal)")
"""How a text of gpt-oss begins whose special tokens were dropped; "assistantfinal" begins its answer."""
_BARE_THOUGHT = re.compile("assistant(?:analysis|commentary)")
_THOUGHT_MARK = re.compile(
    rf"<(?![\d<>=])(?:(?P<begin>{'|'.join(re.escape(begin[1:]) for begin, _ in THOUGHT_TOKENS)})"
    rf"|(?P<end>{'|'.join(re.escape(end[1:]) for _, end in THOUGHT_TOKENS)})"
    rf"|\|?(?P<closes>/\|?|(?<=\|)end_?(?:of_?)?)?\s?(?:\w{{1,12}}:)?"
    rf"(?P<name>{'|'.join(THOUGHT_TAGS)}|{_ANY_THOUGHT})\|?(?:\s[^<>\n]{{0,80}})?>)",
    re.IGNORECASE,
)
_END_OF_TURN = re.compile(
    rf"<(?:\|(?:{'|'.join(TURN_ENDS)})\|>|/s>|eos>|end_of_turn>|turn\|>|｜(?:end▁of▁sentence|User)｜>)"
)


@dataclass(frozen=True, slots=True)
class Said:
    """What a completion said rather than thought."""

    final: str
    breaks_off_in_thought: bool


def spelled_out(text: str) -> str:
    """The text, with the marks of another form written as tags and tokens."""
    # written out, single characters first: this is asked of every text, and a loop takes ten times as long
    is_bracketed = "[" in text and ("THINK]" in text or "[INST]" in text or "TOOL_" in text)
    is_tagged = "<" in text and ("_of_box|>" in text or r"<\think>" in text)
    if not (is_bracketed or is_tagged or "◁" in text):
        return text
    for mark, reading in _SPELLED:
        text = text.replace(mark, reading)
    return text


def said(text: str) -> Said:
    """The final channel of a completion whose marks are spelled out."""
    if _CHANNEL in text:
        text = "\n".join(_final_messages(text))
    elif BARE_ANALYSIS.match(text):
        messages = text.split("assistantfinal")[1:]
        text = "\n".join(_BARE_THOUGHT.split(message, maxsplit=1)[0] for message in messages)
    return _outside_thoughts(text)


def _final_messages(text: str) -> list[str]:
    """gpt-oss's final messages: usually one, the last perhaps cut off; none if it never got so far."""
    starts = [match.end() for match in _FINAL.finditer(text)]
    return [_until_end_of_turn(text[start:end]) for start, end in pairwise([*starts, len(text)])]


def _outside_thoughts(text: str) -> Said:
    if "<" not in text:
        return Said(text, not text.strip())
    if "<summary>" in text:
        text = _FOLDED.sub("\n", text)
    pieces: list[str] = []
    start = 0
    thought: str | None = None  # the name of the tag that opened the thought
    for mark in _THOUGHT_MARK.finditer(text):
        name = (mark["name"] or "think").lower()
        if thought is not None and name in INNER_TAGS and name != thought:
            continue
        closes = bool(mark["closes"] or mark["end"])
        if not closes and thought is None:
            pieces.append(text[start : mark.start()])
        thought = None if closes else name
        start = mark.end()
    if thought is None:
        pieces.append(text[start:])
    final = _until_end_of_turn("\n".join(pieces))
    return Said(final, thought is not None or not final.strip())


def _until_end_of_turn(text: str) -> str:
    end = _END_OF_TURN.search(text) if "<" in text else None
    return text[: end.start()] if end else text
