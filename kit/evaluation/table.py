"""A run in a few lines for a terminal: the scores with their intervals, and what a reader must know beside them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from kit.evaluation.description import described
from kit.evaluation.metrics import Grading
from kit.evaluation.model_table import percent
from kit.evaluation.records import EvalRun
from kit.evaluation.run_records import differences
from kit.evaluation.slices import Slice, overall, slices
from kit.sampling import FinishReason

if TYPE_CHECKING:
    from rich.table import Table


def as_table(run: EvalRun) -> Table:
    """One row a depth; with several samples also the votes of all of them, and whether any is right."""
    from rich.markup import escape
    from rich.table import Table

    about = described(run.head)
    table = Table(title=escape(f"{about.model} on {about.data} ({about.split})"), title_justify="left")
    k = run.num_samples
    several = [f"maj@{k} %", f"pass@{k} %"] if k > 1 else []
    for name in ("T", "problems", "strict %", "lenient %", *several, "truncated %", "unanswered %", "tokens"):
        table.add_column(name, justify="right")
    for part in overall(slices(run)):
        table.add_row(*_row(part, k))
    return table


def _row(part: Slice, k: int) -> tuple[str, ...]:
    strict, lenient = part.scores[Grading.STRICT], part.scores[Grading.LENIENT]
    several = [percent(each[k]) if k in each else "-" for each in (strict.maj_at_k, strict.pass_at_k)] if k > 1 else []
    return (
        "-" if part.depth is None else str(part.depth),
        str(part.num_problems),
        percent(strict.accuracy),
        percent(lenient.accuracy),
        *several,
        f"{100 * part.cost.truncated:.1f}",
        f"{100 * strict.unanswered:.1f}",
        str(part.cost.num_tokens),
    )


def notes(run: EvalRun) -> Iterator[str]:
    """What the figures leave out, one line each."""
    num_asked = len(run.examples) * len(run.depths) * run.num_samples
    if not run.is_whole:
        yield f"not whole: {len(run.completions)} of {num_asked} samples; the same command goes on where it was"
    failed = [each.sample.error for each in run.completions if each.sample.finish is FinishReason.FAILED]
    if failed:
        many = f"{len(failed)} samples failed and count" if len(failed) > 1 else "one sample failed and counts"
        yield f"{many} as wrong; the same command tries again: {failed[0]}"
    for part in overall(slices(run)):
        num_enough = part.scores[Grading.STRICT].num_problems_at_k.get(run.num_samples, 0)
        if run.num_samples > 1 and num_enough < part.num_problems:
            at = "" if part.depth is None else f"T = {part.depth}: "
            yield f"{at}maj@{run.num_samples} and pass@{run.num_samples} are of the {num_enough} problems with so many"
    if changed := _changed(run):
        yield f"its sessions differ in {', '.join(changed)}, and texts may with them"
    num_tokens = sum(each.sample.num_tokens for each in run.completions)
    if run.wall_s:
        yield f"{num_tokens} tokens in {run.wall_s:.1f} s: {num_tokens / run.wall_s:.1f} tokens/s"


def _changed(run: EvalRun) -> list[str]:
    """What is not the same in all sessions, by name."""
    told = [differences(run.sessions[0], session) for session in run.sessions[1:]]
    return sorted({line.partition(" is ")[0] for lines in told for line in lines})
