"""What a completion is taken to say: grades for what is read strictly, and for the last number of the text.

Strict is what kit.answers extracts, boxed or stated. Lenient is the strict answer, and else the last number of the text
if it is an integer: `1,234` and `$18.00` are integers, a `.` that ends a sentence is none of the number, and a last
number such as 3.5 gives nothing, for it, and not an integer before it, is what the text ends with. A minus is a sign
where it touches the number and no digit, letter or bracket before it: `5-3` and `5 - 3` end with 3, `x = -3` with -3.
Pure; total on any text, in linear time.
"""

from __future__ import annotations

import re
from collections import deque

from kit.answers.extraction import RawAnswer
from kit.evaluation.records import Grade, ReadFrom

NOTHING = Grade(answer=None, is_right=False, read_from=ReadFrom.NOWHERE)

_NUMBER = re.compile(
    r"""(?P<sign>(?<![\w)\]}])[-−]\\?\$?(?=[\d.])|\\?\$[-−](?=[\d.])|(?<==\ )[-−]\ (?=[\d.]))?
    (?:(?P<whole>(?:\d{1,3}(?:(?:,|\{,\}|\\,)\d{3})+|\d+)(?!\d))(?P<fraction>\.\d+)?|\.\d+)""",
    re.VERBOSE | re.ASCII,
)
_SEPARATORS = re.compile(r"[^\d]", re.ASCII)


_WRITABLE = 10**4000  # Python writes no more than 4,300 digits


def written(number: int) -> str:
    """A number as the text that is voted on; hexadecimal where it has thousands of digits."""
    return str(number) if abs(number) < _WRITABLE else hex(number)


def strict(raw: RawAnswer | None, answer: str | None, *, is_right: bool) -> Grade:
    """The grade of what was extracted. answer: it normalised, None if it says nothing that can be normalised."""
    if raw is None or answer is None:
        return NOTHING
    return Grade(answer=answer, is_right=is_right, read_from=ReadFrom(raw.source.value), span=raw.span)


def lenient(strict: Grade, text: str, *, gold: int | None) -> Grade:
    """The strict grade, or that of the text's last integer. gold: None where the right answer is no integer."""
    if strict.answer is not None:
        return strict
    found = last_integer(text)
    if found is None:
        return NOTHING
    answer, span = found
    return Grade(
        answer=answer, is_right=gold is not None and answer == written(gold), read_from=ReadFrom.LAST_INTEGER, span=span
    )


def last_integer(text: str) -> tuple[str, tuple[int, int]] | None:
    """The last number of a text and its span, if that number is an integer; written with digits and a minus only."""
    last = next(iter(deque(_NUMBER.finditer(text), maxlen=1)), None)
    if last is None or not last["whole"] or (last["fraction"] or "").strip(".0"):
        return None
    digits = _SEPARATORS.sub("", last["whole"]).lstrip("0") or "0"
    sign = "-" if last["sign"] and digits != "0" else ""
    begin = last.start() if sign else last.start("whole")
    return sign + digits, (begin, last.end())
