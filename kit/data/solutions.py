"""The text of data sets: quotes, backslashes and the marks of worked solutions.

In: text as a set writes it. Out: text as a model reads or learns it. Pure; total on any text.
"""

from __future__ import annotations

import re

_QUOTES = str.maketrans({**dict.fromkeys("‘’‚‛′", "'"), **dict.fromkeys("“”„‟″", '"')})
_CALCULATOR_MARK = re.compile(r"<<[^<>\n]*?=?(?P<result>[^<>=\n]*)>>")
_HASHES = re.compile(r"^[ \t]*####[ \t]*(?P<gold>\S[^\n]*?)[ \t]*$", re.MULTILINE)
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))", re.ASCII)
# What Python makes of `"\alpha"`, `"\boxed"`, `"\vec"` and `"\frac"` where the backslash was not doubled.
_ESCAPED = re.compile(r"(?P<control>[\x07\x08\x0b\x0c])(?=[A-Za-z])")
_LETTERS = {"\x07": "a", "\x08": "b", "\x0b": "v", "\x0c": "f"}


def clean_solution(text: str) -> str:
    r"""A worked solution as a model learns it.

    GSM8K's calculator marks, `<<48/2=24>>`, are gone, its last line, `#### 1,234`, is a sentence with
    `\boxed{1234}`, and quotes are straight. A solution without these marks keeps its words.
    """
    text = _CALCULATOR_MARK.sub("", straight_quotes(repaired(text)))
    return _HASHES.sub(lambda line: final_sentence(without_commas(line["gold"])), text).strip()


def final_sentence(gold: str) -> str:
    """How a solution ends that does not box its answer itself."""
    return f"The final answer is $\\boxed{{{gold}}}$."


def calculated(text: str) -> tuple[str, ...]:
    """The results of GSM8K's calculator marks, in order: `24` of `<<48/2=24>>`; empty without marks."""
    results = (without_commas(mark["result"].strip()) for mark in _CALCULATOR_MARK.finditer(text))
    return tuple(filter(None, results))


def hashed_gold(text: str) -> str | None:
    """What follows the last `####` of a solution in GSM8K's form, without commas; None where there is none."""
    found = list(_HASHES.finditer(text))
    return without_commas(found[-1]["gold"]) if found else None


def without_commas(number: str) -> str:
    """`1,234,567` as `1234567`; other commas stay."""
    return _THOUSANDS.sub("", number)


def straight_quotes(text: str) -> str:
    """Typographic quotes and primes as the straight ones of ASCII."""
    return text.translate(_QUOTES)


def repaired(text: str) -> str:
    r"""Backslashes back in place that a string literal swallowed: a backspace before `oxed` is `\boxed` again."""
    return _ESCAPED.sub(lambda found: "\\" + _LETTERS[found["control"]], text)
