r"""An answer's LaTeX in, a text out that equal ways of writing it share, so that such answers can be voted on.

What is taken off: `$`, `\left` and `\right`, spaces, `\text{}` and its like around words, degrees, percent and currency
signs, a letter that is set equal (`x=5`). What is written in one way: `\dfrac`, `\frac12` and `1/2` as `\frac{1}{2}`,
`\sqrt2` as `\sqrt{2}`, `.5` as `0.5`, thousands without commas, words in small letters. It compares how an answer is
written, not what it is worth: 0.5 and 1/2 stay two texts, and math-verify judges them.
Source: `strip_string` of hendrycks/math and its offspring, which does the same and more.
"""

from __future__ import annotations

import re
from collections.abc import Callable

MAX_CHARS = 1000
"""A longer box is no answer."""

_Replacement = str | Callable[[re.Match[str]], str]
_STEPS: tuple[tuple[re.Pattern[str], _Replacement], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\\[()\[\]]|\\?\$", ""),
        (r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mbox)\s*\{([^{}]*)\}", r"\1"),
        (r"\\(?:left|right|[bB]igg?[lr]?)(?![A-Za-z])\s*", ""),
        (r"\\[,;:! ]|~|\\q?quad(?![A-Za-z])|\\(?:thin|med|thick)space(?![A-Za-z])", " "),
        (r"\^\s*\{?\s*\\circ\s*\}?|\\degree(?![A-Za-z])|°|\\?%", ""),
        (r"\{,\}", ","),
        (r"[−–]", "-"),
        (r"\\[dtc]frac(?![A-Za-z])", r"\\frac"),
        (r"\\(l|g|n)e(?![A-Za-z])", r"\\\1eq"),
        (r"\\frac\s*(\d)\s*(\d)", r"\\frac{\1}{\2}"),
        (r"\\frac\s*(\d)\s*\{", r"\\frac{\1}{"),
        (r"(\\frac\{[^{}]*\})\s*(\d)", r"\1{\2}"),
        (r"\\sqrt\s*(\w)", r"\\sqrt{\1}"),
        (r"(?<![\d}])\.(?=\d)", "0."),
    )
)
_NAME = re.compile(r"\s*[A-Za-z]\s*=(?!=)([^=]*)")
_WORDS = re.compile(r"[A-Za-z]{2}[A-Za-z ]*|\(?[A-Za-z]\)?")
_QUOTIENT = re.compile(r"(-?)(\d+)\s*/\s*(\d+)", re.ASCII)
_GROUPED = re.compile(r"-?\d{1,3}(?:,\d{3})+(?:\.\d+)?", re.ASCII)


def normal_form(latex: str) -> str | None:
    """The one way to write an answer; None for one that is empty or longer than MAX_CHARS."""
    text = latex.strip()
    if not text or len(text) > MAX_CHARS:
        return None
    for pattern, replacement in _STEPS:
        text = pattern.sub(replacement, text)
    if named := _NAME.fullmatch(text):
        text = named[1]
    text = text.strip().rstrip(".").strip()
    if _WORDS.fullmatch(text):
        return " ".join(text.casefold().split())
    text = "".join(text.split())
    if quotient := _QUOTIENT.fullmatch(text):
        return rf"{quotient[1]}\frac{{{quotient[2]}}}{{{quotient[3]}}}"
    return (text.replace(",", "") if _GROUPED.fullmatch(text) else text) or latex.strip()
