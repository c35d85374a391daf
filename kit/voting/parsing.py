"""Stop rules as text: "votes(4) | certificate(0.05)" in, a Rule out, and `str(rule)` is that text again.

The rules themselves are in `kit.voting.rules`, `kit.voting.sequential` and `kit.voting.learned`. Does not read files.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from kit.errors import InputError, check_fields, did_you_mean
from kit.voting.learned import LearnedPrior
from kit.voting.rules import ESC, KOfFirst, KOfRecent, Lead, Rule, Uncatchable, VoteHistory, Votes
from kit.voting.sequential import SPRT, AdaptiveConsistency, MajorityCertificate

SEPARATOR = " | "


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Enough as soon as one of the rules says so; errs at most as often as all of them together.

    rules: two or more, none of them an AnyOf.
    """

    rules: tuple[Rule, ...]

    def __post_init__(self) -> None:
        check_fields(
            self,
            (
                ("rules", len(self.rules) >= 2, "two or more"),
                ("rules", not any(isinstance(rule, AnyOf) for rule in self.rules), "single rules"),
            ),
        )

    def is_enough(self, history: VoteHistory) -> bool:
        """One of the rules finds it enough."""
        return any(rule.is_enough(history) for rule in self.rules)

    def __str__(self) -> str:
        return SEPARATOR.join(map(str, self.rules))


@dataclass(frozen=True, slots=True)
class Form:
    """How a rule is written. build: its constructor. arguments: name and reader of each, `num_optional` last."""

    build: Callable[..., Rule]
    arguments: Mapping[str, Callable[[str], object]]
    num_optional: int = 0


FORMS: Mapping[str, Form] = {
    "votes": Form(Votes, {"k": int}),
    "k_of_first": Form(KOfFirst, {"k": int, "n": int}),
    "k_of_recent": Form(KOfRecent, {"k": int, "n": int}),
    "lead": Form(Lead, {"margin": int, "over": str}, num_optional=1),
    "uncatchable": Form(Uncatchable, {}),
    "esc": Form(ESC, {"window": int}),
    "adaptive": Form(AdaptiveConsistency, {"threshold": float}),
    "sprt": Form(SPRT, {"alpha": float, "p1": float}, num_optional=1),
    "certificate": Form(MajorityCertificate, {"alpha": float}),
    "learned": Form(LearnedPrior, {"tolerance": float}),
}
"""Every rule that has a name; a new one needs one entry here."""


def parse_rule(text: str) -> Rule:
    """The rule that `text` names; rules joined by "|" stop when any of them does.

    Raises: InputError for a name that is not in FORMS or arguments that its rule does not take.
    """
    rules = tuple(_parse_one(part.strip()) for part in text.split("|"))
    return rules[0] if len(rules) == 1 else AnyOf(rules)


def _parse_one(text: str) -> Rule:
    match = re.fullmatch(r"(\w+)(?:\s*\(([^()]*)\))?", text)
    if match is None:
        raise InputError(f"{text!r} is no stop rule; write name(arguments), as in 'votes(4) | lead(3)'")
    name, inside = match.groups()
    if name not in FORMS:
        guess = did_you_mean(name, FORMS)
        raise InputError(f"unknown stop rule {name!r}; {guess}{' ' if guess else ''}known: {', '.join(FORMS)}")
    arguments = [each.strip() for each in inside.split(",")] if inside and not inside.isspace() else []
    try:
        return FORMS[name].build(*_read(FORMS[name], arguments))
    except ValueError as error:  # what a reader or the rule itself (InputError) finds wrong
        raise InputError(f"{text!r}: {error}; write {_usage(name)}") from None


def _read(form: Form, arguments: Sequence[str]) -> list[object]:
    least, most = len(form.arguments) - form.num_optional, len(form.arguments)
    if not least <= len(arguments) <= most:
        wanted = str(most) if least == most else f"{least} or {most}"
        raise InputError(f"got {len(arguments)} arguments, expected {wanted}")
    return [read(argument) for read, argument in zip(form.arguments.values(), arguments, strict=False)]


def _usage(name: str) -> str:
    """As in "k_of_first(k: int, n: int)" or "sprt(alpha: float[, p1: float])"."""
    form = FORMS[name]
    words = [f"{argument}: {read.__name__}" for argument, read in form.arguments.items()]
    least = len(words) - form.num_optional
    optional = "".join(f"[, {word}]" for word in words[least:])
    return f"{name}({', '.join(words[:least])}{optional})" if words else name
