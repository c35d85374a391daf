"""The answer that a text states in words: its final channel in, what the last "the answer is …" says out, or None.

A statement is: a sentence that begins "the answer is" ("Hence the final numerical answer is", "Answer:"), behind marks
of a list, a quotation or emphasis; a clause "…, so the answer is" that supposes nothing; a line `#### …` or `A: …`; a
heading "Answer" over a line; `<answer>…</answer>`. So is any other clause "answer is" ("Wait, the
answer is 42", "the answer should be 42"), which takes an earlier one back: one that cannot be read, too. "If the answer
is 5" and "for n=2 the answer is 3" state nothing, nor does a line `A: …` among lines `B: …`, which labels a value. Only
the end of a text counts.

What it says: a display formula, or the words up to the end of the sentence; `!` within mathematics ends none. Remarks
in words after it ("42, in total", "42 — done") are taken off, unless they change the number or take it back.
Total on any str; its work is bounded, since it looks at the last characters only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from kit.answers.units import alters, is_scale, words_of

CONCLUSION_CHARS = 500  # of the end of a text: a statement further up was followed by more reasoning
_CLAUSE_CHARS = 300
_LEAD_CHARS = 160  # before the word "answer", at most

_SAYS = re.compile(r"[^\W_]")
_OPENS_BOX = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])")
_DISPLAY = {"\\[": "\\]", "$$": "$$"}
# Marks that end a quotation, and what begins it.
_QUOTES = {end: re.compile(rf"(?<!\w){begin}") for begin, end in ('""', "''", "“”", "‘’", "«»", "„“")}
_LABEL_LINE = re.compile(r"\n[ \t]*+[aA][ \t]*+:(?:\*\*)?|\n[ \t]*+\*\*[aA](?::\*\*|\*\*[ \t]*+:)")
_OTHER_LABEL = re.compile(
    r"[ \t]*+(?:[-*•>][ \t]++)?(?:\*\*)?\(?(?:[B-PR-Zb-pr-z]|[A-Z]{2})\d?\)?(?:\*\*)?[ \t]*+[:.)]"
)
# `Total: 7`, `2: 4`: a bare number behind any label but these.
_LABELLED_NUMBER = re.compile(
    r"""[ \t]*+(?:[-*•>][ \t]++)?(?:\*\*)?
    (?!(?:final|the|a|q|answer|question|problem|input|step|confidence|probability|score|grade|check|difficulty)\b)
    \w[\w ]{0,20}+(?:\*\*)?[ \t]*+:(?:\*\*)?[ \t]*+-?\$?-?\d[\d,.]*+\$?(?:\*\*)?[ \t]*+(?:\n|\Z)""",
    re.IGNORECASE | re.VERBOSE,
)
_HASHES = re.compile(r"####(?!#)[ \t]*+:?[ \t]*+(?=\*{0,2}[-$\d\\])(?!\d+[.)]\s++[A-Za-z])")

_SENTENCE_START = re.compile(
    r"\n|[!?](?=\s)|(?<!e\.g)(?<!i\.e)\.(?!\d)(?=[\s*A-Z✅])|\$\$|\\\]|</?\w{1,20}>(?=\s*\S)|(?<=\\\))(?=\s)"
)
_MARKS = r"[^\w\s$\\(\[{\"'<]*+"
_ADVERBS = (
    r"so|thus|hence|therefore|then|and|finally|consequently|overall|accordingly|ultimately|now|conclusion|result"
    r"|in\ conclusion|in\ summary|to\ conclude|as\ a\ result|it\ follows\ that|we\ conclude\ that"
    r"|this\ means(?:\ that)?|we\ (?:find|see|get|have)\ that|step\ \d+"
)
_KINDS_OF_ANSWER = (
    "final|correct|required|desired|numerical|numeric|integer|exact|overall|complete|actual|right|requested|simplified"
)
_PHRASE = (
    rf"""(?:(?:{_ADVERBS})\b[,:]?\ ++){{0,3}}(?:(?:the|our|my)\ ++)?{_MARKS}(?:(?:{_KINDS_OF_ANSWER})\ ++){{0,3}}"""
)
_LEAD = re.compile(
    rf"""\s*+(?P<marks>(?:{_MARKS}\s*+){{0,4}})
    (?P<label>\(?(?:\d{{1,2}}|[a-z]|[ivx]{{1,4}})[.)]\s++)?{_MARKS}
    (?P<bold>\\text(?:bf|it)?\{{)?{_PHRASE}""",
    re.IGNORECASE | re.VERBOSE,
)
_LABELLED_ANSWER = re.compile(
    r"^\W{0,6}(?:\d{1,2}|[a-z]|[ivx]{1,4})[.)]\s\W{0,4}(?:the\s|final\s)?answer", re.IGNORECASE | re.MULTILINE
)
_SO = re.compile(
    rf"(?P<premise>[^\n]*?)[,;]?\ (?:and\ )?(?:so|hence|thus|therefore)(?:\ that)?,?\ {_PHRASE}",
    re.IGNORECASE | re.VERBOSE,
)
_SUPPOSES = re.compile(
    r"\b(?:if|for|when|whenever|suppose|assum\w+|case|say|let(?![ ](?:me|us)\b)|would|were|might|unless|claim\w*)\b",
    re.I,
)
# What else makes a clause "answer is" no statement of this writer: it is doubted, another's, or of another number.
_IS_ANOTHERS = re.compile(
    r"""\b(?:otherwise|whether|could|may|thought|think\w*|believ\w*|guess\w*|tempt\w*|mistakenly|says|said
      |whose|in[ ]which)\b
    |(?:n['’]t|\b(?:not|never|no|wrong|incorrect|false|mistakes?))\b[^:;,—]*\Z
    |\b(?:initial|previous|earlier|original|first|old|naive|intermediate|expected|his|her|their|another|other|one|whose
       |partial|tentative|\w+['’]s|student)(?:[ ]\w+)?[ ]\Z
    |\b(?:of|than|times|twice|half|double|thrice|triple)[ ](?:(?:the|our|my|this|that)[ ])?\Z""",
    re.IGNORECASE | re.VERBOSE,
)
_NUMBER_OR_DENIAL = re.compile(
    r"\d|\b(?:no|not|none|wrong|incorrect|invalid|false|impossible|absurd|undefined|infinite"
    r"|zero|one|two|three|four|five|six|seven|eight|nine|ten|[a-z]+teen|(?:twen|thir|for|fif|six|seven|eigh|nine)ty|hundred|thousand)\b",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"(?:[^\w$\\]|_)*+[\d$\\]")
_VERB = re.compile(
    r"""(?:[ ]to[ ](?:the|this)[ ](?:\w+[ ])?(?:problem|question))?(?:\*\*|__)?[ \t]*+
    (?::|=|→|⇒|(?P<modal>(?:should|must|will|(?:ought|has|has[ ]got|needs)[ ]to
        |(?:comes|turns)[ ]out(?:[ ]to)?)[ ]be\b)
      |was(?=[ ](?:wrong|incorrect|mistaken|false)\b)
      |(?:is|equals)\b(?:[ \t]*+(?:thus|therefore|then|indeed|simply|just|hence|now|clearly)\b)?[ \t]*+:?+)
    (?:\*\*|__)?(?:[ ]?\}{1,2}+)?""",
    re.IGNORECASE | re.VERBOSE,
)
_HEADING = re.compile(r"(?:\*\*|\})?[ \t]*+:?(?:\*\*|\})?[ \t]*+(?=\n)")
_TAG = re.compile(r"<(?:final_?)?\Z", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Stated:
    """What a statement says, as raw text, and where that begins."""

    text: str
    begin: int


def last_stated(text: str, *, after: int = 0) -> Stated | None:
    """What the last statement of a text says that says anything. after: where the part begins that counts."""
    text = text.rstrip()
    for start, is_plain in _statements(text, max(after, len(text) - CONCLUSION_CHARS)):
        clause = _clause(text[start : start + _CLAUSE_CHARS].lstrip())
        if opens := _QUOTES.get(clause[-1:]):
            clause = _unquoted(clause, text[max(0, start - _LEAD_CHARS) : start].rpartition("\n")[2], opens)
        if _SAYS.search(clause) and (is_plain or _NUMBER_OR_DENIAL.search(clause)):
            if _OPENS_BOX.search(clause):
                return None  # a box that was cut off
            return Stated(clause, text.find(clause.removesuffix("?"), start))
    return None


def first_statement(text: str) -> int | None:
    """Where the first statement of a text ends its announcement; None without one."""
    return min((start for start, _ in _statements(text, 0)), default=None)


def _statements(text: str, begin: int) -> Iterator[tuple[int, bool]]:
    """Where what is stated begins, and whether it is so however it reads; the last statement first."""
    answers = [found for place in _answers(text, begin) if (found := _after_verb(text, place)) is not None]
    starts: list[int] = []
    if "####" in text:
        starts += [
            m.end() for m in _HASHES.finditer(text, begin) if not text[: m.start()].rpartition("\n")[2].strip(" >")
        ]
    if text[:1] in ("A", "a", "*") and begin == 0:
        labelled = _LABEL_LINE.match("\n" + text[:10])
        starts += [labelled.end() - 1] if labelled and not _is_one_of_several(text, 0) else []
    for match in _LABEL_LINE.finditer(text, max(0, begin - 1)):
        if not _is_one_of_several(text, match.start() + 1):
            starts.append(match.end())
    return iter(sorted([*answers, *((start, True) for start in starts)], reverse=True))


def _answers(text: str, begin: int) -> Iterator[int]:
    """Where the word "answer" stands."""
    for word in ("nswer", "NSWER"):
        place = text.find(word, begin)
        while place >= 0:
            if place > begin and text[place - 1] in "aA":
                yield place - 1
            place = text.find(word, place + 1)


def _after_verb(text: str, place: int) -> tuple[int, bool] | None:
    """Where the value begins that the sentence with the word "answer" at `place` states; None if it states none.

    And whether the sentence has the form of a statement; a clause of any form states nothing but numbers.
    """
    end = place + len("answer")
    before = text[max(0, place - _LEAD_CHARS) : place]
    if text[end : end + 1] == ">":
        return (end + 1, True) if _TAG.search(before) else None
    sentence = before[_sentence_start(before) :] if place > len(before) or before else before
    lead = _LEAD.fullmatch(sentence)
    so = _SO.fullmatch(sentence) if lead is None else None
    if lead is None:
        if _SUPPOSES.search(so["premise"] if so else sentence) or (so is None and _IS_ANOTHERS.search(sentence)):
            return None
    elif lead["label"] and len(_LABELLED_ANSWER.findall(text, max(0, len(text) - CONCLUSION_CHARS))) > 1:
        return None  # "a) Answer: 4", "b) Answer: 5"
    elif (lead["bold"] or "#" in lead["marks"] or "**" in lead["marks"]) and (heading := _HEADING.match(text, end)):
        return heading.end(), True
    verb = _VERB.match(text, end)
    has_form = lead is not None or so is not None
    if verb is None or not (has_form or _is_verbal(verb)) or (verb["modal"] and not _NUMBER.match(text, verb.end())):
        return None
    return verb.end(), has_form


def _is_verbal(verb: re.Match[str]) -> bool:
    """Whether it is a verb, and no colon as in "Other answer: 5"."""
    return any(map(str.isalpha, verb[0]))


def _sentence_start(before: str) -> int:
    return max((match.end() for match in _SENTENCE_START.finditer(before)), default=0)


def _is_one_of_several(text: str, start: int) -> bool:
    """Whether the line that starts here stands beside one that labels another value: `A: 3`, `B: 4`."""
    above = text[max(0, start - _LEAD_CHARS) : start].rstrip().rpartition("\n")[2]
    below = text[start : start + _CLAUSE_CHARS].partition("\n")[2].lstrip()
    return bool(_OTHER_LABEL.match(above) or _OTHER_LABEL.match(below) or _LABELLED_NUMBER.match(below))


# ------------------------------------------------------------------------------------------ clauses

# Mathematics is passed over; a `$` that a sentence's end follows is a currency sign.
_CLAUSE_PART = re.compile(
    r"""\$(?:(?![.;?]\s)[^$\n])*+\$|\\\((?:(?!\\\)).)*+\\\)
    |(?P<end>(?<![,;+=])\n|</|[.?](?=[\s*]|\Z)(?<!i\.e\.)|\.(?=[A-Z][a-z])
      |!(?=[\s*]|\Z)(?!\s*+(?:[-=+/^)\\!<>×·]|\*(?!\*)))
      |;(?!\s*+(?:and\s|or\s)?\W*+(?:\d|[A-Za-z]\w?\s*+=))
      |,?\s(?:because|since|as|which|so)\b|,\s(?:where|hence|thus|therefore)\b
      |,?\sand\s(?:we|I|that|this|it|hence|thus|so|therefore)\b
      |\sby\s(?=[a-z]{3}))""",
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
_TAKES_BACK = re.compile(
    r"\s*+(?:is|are|was|seems|can|must)\s++(?:\w++\s++)?(?:impossible|wrong|incorrect|invalid|false|absurd|not|too|contradict\w*)\b",
    re.IGNORECASE,
)
_REMARK = re.compile(r"(?:,\s++|\s++[—–-]{1,3}\s++|\s*+[—–]\s*+)(?P<words>[A-Za-z][A-Za-z'’,\s-]*+)[\s*\"”]*+\Z")


def _clause(after: str) -> str:
    """What an "answer is" says: a display formula, or the words up to the end of the sentence."""
    closer = _DISPLAY.get(after[:2])
    if closer:
        return after[2:].partition(closer)[0].strip()
    end = next((part for part in _CLAUSE_PART.finditer(after) if part["end"] is not None), None)
    if end is None:
        return _without_remark(after.strip())
    if end["end"] == "?" or _TAKES_BACK.match(after, end.end()):
        return after[: end.end()] + "?"  # a question, which no reader takes for a number
    return _without_remark(after[: end.start()].strip().rstrip(" —–"))


def _unquoted(clause: str, before: str, opens: re.Pattern[str]) -> str:
    """Without the end of a quotation that began before it: `"The answer is 42."`; in `42'` it is none."""
    return clause[:-1].rstrip(" .") if opens.search(before) and not opens.search(clause[:-1]) else clause


def _without_remark(clause: str) -> str:
    remark = _REMARK.search(clause)
    if remark is None:
        return clause
    words = words_of(remark["words"])
    is_symbol = any(len(word) == 1 and word not in "ai" for word in words)
    return clause if is_symbol or alters(words) or any(map(is_scale, words)) else clause[: remark.start()]
