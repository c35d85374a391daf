"""Texts of others as HTML: nothing in them is markup, and nothing in them turns or hides what is around it. Pure."""

from __future__ import annotations

import html
import re

_UNSEEN = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)
"""Signs that cannot be seen, or that turn the order of others around; report.js has the same."""


def shown(text: str) -> str:
    """The text escaped, with each unseen sign by its name: ⟨U+202E⟩."""
    return html.escape(_UNSEEN.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", text))
