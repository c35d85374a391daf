"""A problem in, the modulus that it asks its answer to be reduced by out, or None.

Only the final question counts: "find the remainder when … is divided by $m$", "what is … modulo $m$", "the
last three digits", "let $R$ be the remainder when … Find $R$". A modulus in the premises is none, and where
the wording is unusual the answer is None: a modulus wrongly found would change right answers.
"""

from __future__ import annotations

import re

from kit.answers.normalisation import integer

_ASKS = (
    r"\b(?:find|determine|compute|calculate|evaluate|give|report|output|submit|state|enter|return|provide"
    r"|what(?:\s+is|\s+are|'s|\s+will\s+be))\s+"
)
_SUBMITS = r"\b(?:give|report|submit|enter|express)\s+(?:your|the)\s+(?:final\s+)?answer\s+as\s+"
_MODULO = r"(?:\\?[bp]?mod(?:ulo)?(?![A-Za-z]))"
_AMOUNT = (
    r"(?P<modulus>\$[^$]{1,40}\$|10\s*\^\s*9\s*\+\s*7(?!\d)|10\s*\^\s*(?:\{\s*\d\s*\}|\d)(?!\d)"
    r"|[0-9][0-9,]*(?!\s*(?:\^|\*\*)))"
)
_REMAINDER_WHEN = (
    r"the\s+remainder\s+(?:(?:that\s+is\s+)?(?:obtained|left|produced)\s+)?(?:when|if|of|after|upon|on|from)\s+"
    r"(?P<what>.{1,3000}?)\s+(?:is\s+|are\s+|gets\s+)?(?:divided|division)\s+by\s+" + _AMOUNT
)
_COUNTS = {
    word: count
    for count, words in enumerate(
        ["", "1 one", "2 two", "3 three", "4 four", "5 five", "6 six", "7 seven", "8 eight", "9 nine"]
    )
    for word in words.split()
}
_REMAINDER = re.compile(_ASKS + _REMAINDER_WHEN, re.I | re.S)
_REMAINDER_LEFT = re.compile(
    rf"(?:\bwhat\s+remainder\s+(?:does|do|will|is\s+(?:left|obtained|given|produced)\s+(?:when|if))"
    r"|\bwhat\s+(?:does|do|will)(?=\s[^.?!]{1,200}?\s(?:leave|give|have)\s+as\s+(?:an?\s+|its\s+|the\s+)?remainder)"
    rf"|{_ASKS}the\s+remainder\s+(?:that|which)|{_ASKS}(?=[^.?!,]{{1,60}}?['’]s?\s+remainder\s))\s*(?P<what>.{{1,3000}}?)"
    r"\s+(?:is\s+|are\s+)?(?:divided|division)\s+by\s+" + _AMOUNT,
    re.I | re.S,
)
# "Let $R$ be the remainder when …", where the problem ends in "Find $R$."
_REMAINDER_NAMED = re.compile(
    r"\b(?:let|where|and|if)\s+\$?(?P<name>[A-Za-z])\$?\s+(?:be|is|denotes?)\s+" + _REMAINDER_WHEN, re.I | re.S
)
_ASKS_FOR_NAME = re.compile(_ASKS + r"(?:the\s+value\s+of\s+)?\$?(?P<name>[A-Za-z])\$?\s*[.?!]?\s*\Z", re.I)
_REMAINDER_LAST = re.compile(
    r"\b(?:when|if)\s+(?P<what>.{1,3000}?)\s+is\s+divided\s+by\s+"
    + _AMOUNT
    + r",?\s+what\s+(?:is\s+the\s+remainder|remainder\s+(?:is|will\s+be|do\s+you|do\s+we|does\s+it))",
    re.I | re.S,
)
# Only bare mathematics may stand between the verb and "modulo": `Find the order of 2 modulo 101` asks no reduction.
_BARE = r"(?P<what>(?:the\s+(?:value|remainder|residue)\s+of\s+)?(?:\$[^$]{1,500}\$|[A-Za-z0-9+*^!{}\\-]{1,100}))"
_REMAINDER_DIVIDING = re.compile(
    _ASKS + r"the\s+remainder\s+(?:\w+\s+)?(?:when|upon|on|after|of|from|by)\s+dividing\s+"
    r"(?P<what>.{1,3000}?)\s+by\s+" + _AMOUNT,
    re.I | re.S,
)
_REMAINDER_OF_DIVISION = re.compile(
    _ASKS + r"the\s+remainder\s+(?:\w+\s+)?(?:upon|on|after|of|from|in)\s+(?:the\s+)?division\s+of\s+"
    r"(?P<what>.{1,3000}?)\s+by\s+" + _AMOUNT,
    re.I | re.S,
)
_RESIDUE_OF = re.compile(
    _ASKS + r"the\s+(?:(?:least|smallest)\s+)?(?:non-?negative\s+|positive\s+)?(?:residue|remainder)\s+of\s+"
    r"(?P<what>.{1,3000}?)\s*,?\s*(?:when\s+(?:taken|reduced)\s+)?\(?\$?" + _MODULO + r"\s*\{?" + _AMOUNT + r"\}?",
    re.I | re.S,
)
# "What is the sum of … (mod 100000)?": in brackets at the very end; in the premises a congruence has a relation, too.
_MOD_LAST = re.compile(
    _ASKS + r"(?P<what>.{1,1000}?)\s*\(\s*" + _MODULO + r"\s+" + _AMOUNT + r"\s*\)\s*[.?!]?\s*\Z", re.I | re.S
)
_MOD_COMMAND = re.compile(
    _ASKS
    + r"(?P<what>[^?!]{1,1000}?)\s*\$?\s*\\pmod\s*\{(?P<modulus>[^{}$]{1,40}(?:\{[^{}]*\})?)\}\s*\$?\s*[.?!]?\s*\Z",
    re.I,
)
_REDUCED = re.compile(
    _ASKS + _BARE + r"\s*,?\s*(?:reduced|taken|computed|working)\s+" + _MODULO + r"\s+" + _AMOUNT, re.I
)
_MOD_REMAINDER = re.compile(
    _ASKS + r"the\s+" + _MODULO + r"\s+" + _AMOUNT + r"\s+(?:remainder|residue|value)\s+of\s+(?P<what>)", re.I
)
_SUM_MOD = re.compile(
    _ASKS
    + r"the\s+(?:sum|product)\s+of\s+all\s+(?:such|possible)\s+(?P<what>(?:values\s+of\s+)?\$?\w{1,12}\$?)\s*,?\s*"
    + _MODULO
    + r"\s+"
    + _AMOUNT,
    re.I,
)
_COMPUTE_MOD = re.compile(_ASKS + _BARE + r"\s*,?\s*\(?" + _MODULO + r"\s+" + _AMOUNT, re.I)
_INLINE_MOD = re.compile(
    rf"(?:{_ASKS}|{_SUBMITS})" + r"(?:the\s+(?:value|remainder)\s+of\s+)?\$(?P<what>[^$]{1,500}?)"
    r"(?:\\[bp]?mod(?![A-Za-z])|\\(?:text|mathrm|operatorname)\{\s*mod\s*\})\s*"
    r"(?:\{(?P<modulus>[^{}$]{1,40}(?:\{[^{}]*\})?)\}|(?P<bare>[^${}][^$]{0,39}?))[.\s]*\$",
    re.I,
)
_ANSWER_MOD = re.compile(r"\b(?:answer|result)\b(?P<what>[^.?!$]{0,60}?)\b" + _MODULO + r"\s+" + _AMOUNT, re.I)
_LAST_DIGITS = re.compile(
    _ASKS + r"(?:your\s+answer\s+as\s+)?(?:the|(?P<whose>[^.?!,]{1,60}?)['’]s?)\s+"
    r"(?:(?:(?P<before>[a-z]+|[1-9])\s+)?(?:last|final|rightmost|right-most|lowest|trailing|ending"
    r"|least\s+significant)"
    r"\s+(?:(?P<count>[a-z]+|[1-9])\s+)?(?:decimal\s+)?digits?"
    r"|(?P<units>units?|ones)\s+digits?|(?P<at_end>[a-z]+|[1-9])\s+digits?\s+at\s+the\s+end)"
    r"(?(whose)(?=\s*[.?!]|\s*\Z)|\s+of\b)(?P<what>)",
    re.I,
)
_ASKS_AGAIN = re.compile(
    r"\b(?:find|determine|compute|calculate|evaluate|how\s+many|what|which)\b|\bbase\b|\brespectively\b|decimal", re.I
)
_SENTENCE_END = re.compile(r"[.?!]\s+[A-Z]")
_MAY_FOLLOW = re.compile(r"\s*(?:\)|\$)*\s*(?:[.?!](?!\d)|\Z|,?\s*(?:where|if|given|for|expressed|as)\b)", re.I)
_ENDS_CLAUSE = re.compile(r"\s*[.;,](?!\d)")
_NAME_QUESTION_CHARS = 60
_STRICT = frozenset(
    (
        _REMAINDER, _REMAINDER_DIVIDING, _REMAINDER_OF_DIVISION, _RESIDUE_OF, _REMAINDER_LEFT, _SUM_MOD, _COMPUTE_MOD,
        _REDUCED, _INLINE_MOD, _ANSWER_MOD,
    )
)  # fmt: skip
_NO_REDUCTION = re.compile(
    r"\b(?:order|inverses?|roots?|solutions?|residues|classes|congruent|each|every)\b|=|[<>≤≥]|\\[lg]eq?\b", re.I
)

_QUESTIONS = (
    _REMAINDER, _REMAINDER_DIVIDING, _REMAINDER_OF_DIVISION, _RESIDUE_OF, _MOD_LAST, _MOD_COMMAND, _REDUCED,
    _REMAINDER_LAST, _REMAINDER_LEFT, _REMAINDER_NAMED, _MOD_REMAINDER, _SUM_MOD, _COMPUTE_MOD, _INLINE_MOD,
    _ANSWER_MOD, _LAST_DIGITS,
)  # fmt: skip
_TAIL_CHARS = 4000  # of a problem: its question stands last


def stated_modulus(problem_text: str) -> int | None:
    """The modulus by which the problem's own final question wants its answer reduced.

    "Find the remainder when X is divided by 10^5", "… modulo 99991", "the last three digits of X"; None
    for a modulus that belongs to the premises. A miss costs an out-of-range answer, a false find a right one,
    so that an unusual wording is missed.
    """
    text = re.sub(r"\\[()]", "$", " ".join(problem_text[-_TAIL_CHARS:].split()))
    for pattern in _QUESTIONS:
        for match in pattern.finditer(text):
            modulus = _modulus_of(match)
            if modulus is not None and _is_final_question(match, text):
                return modulus
    return None


def _modulus_of(match: re.Match[str]) -> int | None:
    groups = match.groupdict()
    if match.re is _LAST_DIGITS:
        said = groups["count"] or groups["before"] or groups["at_end"]
        count = 1 if groups["units"] or not said else _COUNTS.get(said.lower())
        return 10**count if count else None
    modulus = integer(groups["modulus"] or groups.get("bare", ""))
    return modulus if isinstance(modulus, int) and modulus > 1 else None


def _is_final_question(match: re.Match[str], text: str) -> bool:
    """Whether the match is one sentence, about no congruence, and nothing is asked after it."""
    if _SENTENCE_END.search(match["what"]) or re.search(r"\\equiv|≡|\^\{?-", match["what"]):
        return False
    if match.re in (_MOD_LAST, _MOD_COMMAND) and (
        _NO_REDUCTION.search(match["what"]) or _ASKS_AGAIN.search(match["what"])
    ):
        return False
    after = text[match.end() :]
    if match.re is _REMAINDER_NAMED:
        asked = _ASKS_FOR_NAME.search(after[-_NAME_QUESTION_CHARS:])
        return asked is not None and asked["name"] == match["name"] and _ENDS_CLAUSE.match(after) is not None
    if match.re is _INLINE_MOD and re.search(r"\\(?:sum|prod)", match["what"]):
        return False  # `\sum k \bmod 7` may be a sum of residues
    if match.re in _STRICT and not _MAY_FOLLOW.match(after):
        return False
    return not _ASKS_AGAIN.search(after)
