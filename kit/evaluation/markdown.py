"""`report.md`: the table over one or several runs, the depth sweep, and accuracy by level and subject. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from kit.evaluation.metrics import Grading
from kit.evaluation.model_table import at_largest_k, comparison_table, depth_name, percent
from kit.evaluation.results import Results
from kit.evaluation.slices import Slice

REPORT_NAME = "report.md"
_INTERVALS = (
    "Accuracy in per cent with its 95 % interval over problems. Strict: the answer is boxed or stated. Lenient: "
    "else the last integer of the text. A gain in the first alone is one of format."
)


def markdown(results: Sequence[Results]) -> str:
    """The report as GitHub's Markdown; it ends in a newline."""
    lines = ["# Evaluation", "", _INTERVALS, ""]
    for grading in Grading:
        table = comparison_table(results, grading)
        lines += [f"## {grading.value.capitalize()}", "", *_table(table.heads, table.rows), ""]
    for result in results:
        about = result.description
        lines += [f"## {_cell(about.model)} on {_cell(about.data or 'problems')}", ""]
        lines += _not_whole(result)
        lines += [*_table(*_conditions(result)), ""]
        lines += _speed(result)
        for name in ("level", "subject"):
            heads, rows = _by(result, name)
            lines += ["", *_table(heads, rows), ""] if rows else []
    return "\n".join(lines).rstrip() + "\n"


def _not_whole(result: Results) -> Iterator[str]:
    if not result.is_whole:
        num_completions = sum(part.cost.num_samples for part in result.conditions)
        yield f"**Not whole**: {num_completions:,} completions so far, of {result.num_examples:,} problems asked."
        yield ""


def _speed(result: Results) -> Iterator[str]:
    if result.tokens_per_s is not None:
        yield f"{result.tokens_per_s:.1f} tokens/s over {result.wall_s:,.1f} s of wall time."
        yield ""


def _conditions(result: Results) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """A row a condition and grading: the depth sweep, where there are several."""
    scored = ("depth", "grading", "problems", "accuracy", "maj@k", "pass@k", "unanswered %", "truncated %")
    rows: list[tuple[str, ...]] = [
        (
            depth_name(part.depth) or "–",
            grading.value,
            f"{part.num_problems:,}",
            percent(scores.accuracy),
            at_largest_k(scores.maj_at_k, scores),
            at_largest_k(scores.pass_at_k, scores),
            f"{100 * scores.unanswered:.1f}",
            f"{100 * part.cost.truncated:.1f}",
            *_cost(part),
        )
        for part in result.conditions
        for grading, scores in part.scores.items()
    ]
    return (*scored, "tokens a sample", "seconds a sample", "tokens/s a stream"), rows


def _cost(part: Slice) -> tuple[str, str, str]:
    cost = part.cost
    speed = "–" if cost.tokens_per_s is None else f"{cost.tokens_per_s:.1f}"
    return f"{cost.num_tokens / cost.num_samples:.0f}", f"{cost.seconds / cost.num_samples:.2f}", speed


def _by(result: Results, name: str) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    rows = [
        (
            getattr(part, name),
            depth_name(part.depth) or "–",
            f"{part.num_problems:,}",
            *(percent(scores.accuracy) for scores in part.scores.values()),
        )
        for part in result.parts
        if getattr(part, name)
    ]
    return (name, "depth", "problems", *(grading.value for grading in Grading)), rows


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    heads = [_cell(head) for head in heads]
    lines = [_line(heads), _line("---" for _ in heads)]
    return lines + [_line(map(_cell, row)) for row in rows]


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _cell(text: str) -> str:
    """The text as it is: what Markdown or HTML would take for its own is escaped, line breaks become spaces."""
    return re.sub(r"([\\`*_{}<>|~]|\](?=[(\[:]))", r"\\\1", " ".join(text.split()))
