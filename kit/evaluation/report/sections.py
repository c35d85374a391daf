"""The page's figures as HTML: tables, depth sweep, accuracy by level and subject, calibration. Pure; all escaped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from kit.evaluation.metrics import Grading
from kit.evaluation.model_table import at_largest_k, comparison_table, depth_name, percent
from kit.evaluation.report.charts import Series, calibration_chart, line_chart
from kit.evaluation.report.contents import NamedRun
from kit.evaluation.report.dry_run import JournalledRun
from kit.evaluation.report.escaping import shown
from kit.evaluation.results import Results
from kit.evaluation.sweep import SweepPoint, calibration, depth_sweep

_GRADINGS_TOLD = {
    Grading.STRICT: "Strict: the answer is boxed or stated.",
    Grading.LENIENT: "Lenient: else the last integer of the text. A gain in the strict score alone is one of format.",
}


def evaluation_sections(runs: Sequence[NamedRun], results: Sequence[Results]) -> str:
    """Everything above the completions of one or several evaluations."""
    parts = [_warning(named) for named in runs if not named.run.is_whole]
    parts.append("<h2>Accuracy</h2><p>In per cent, with 95 % intervals over problems.</p>")
    for grading in Grading:
        found = comparison_table(results, grading)
        parts += [f"<p>{_GRADINGS_TOLD[grading]}</p>", table(found.heads, found.rows)]
    for named, result in zip(runs, results, strict=True):
        about = result.description
        title = f"<h2>{shown(named.name)}: {shown(about.model)} on {shown(about.data or 'problems')}</h2>"
        parts += [title, *_sweep(named), *_conditions(result), *_parts(result), *_calibration(named)]
    return "\n".join(parts)


def journal_sections(runs: Sequence[JournalledRun], gold: dict[str, int]) -> str:
    """Everything above the completions of one or several dry runs."""
    heads = ("run", "problems", "answered", "right", "samples", "tokens", "seconds", "guesses")
    rows = [_journal_row(run, gold) for run in runs]
    return f"<h2>Runs</h2>{table(heads, rows)}"


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table that scrolls sideways in a narrow window."""
    heads = tuple(heads)
    head = "".join(f'<th scope="col">{shown(each)}</th>' for each in heads)
    cell = {name: f'<td class="{name}">' if name == "note" else "<td>" for name in heads}
    lines = ("".join(f"{cell[name]}{shown(each)}</td>" for name, each in zip(heads, row, strict=True)) for row in rows)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _warning(named: NamedRun) -> str:
    run = named.run
    num_asked = len(run.examples) * len(run.depths) * run.num_samples
    told = f"{named.name} is not whole: {len(run.completions):,} of {num_asked:,} completions."
    return f'<p class="warning">{shown(told)}</p>'


def _sweep(named: NamedRun) -> Iterator[str]:
    """Accuracy and cost against T, where the run has several depths."""
    sweeps = {grading: depth_sweep(named.run, grading) for grading in Grading}
    points = sweeps[Grading.STRICT]
    if len(points) < 2:
        return
    labels = [str(point.depth) for point in points]
    accuracy = [_accuracy_series(grading.value, each) for grading, each in sweeps.items()]
    across = "depth T"
    charts = [("Accuracy", line_chart(labels, accuracy, across=across, up="right %", scale=100))]
    levels = sorted({example.level for example in named.run.examples if example.level})
    if len(levels) > 1:
        by_level = [_level_series(named, level, labels) for level in levels]
        charts.append(
            ("Accuracy by level, strict", line_chart(labels, by_level, across=across, up="right %", scale=100))
        )
    seconds = Series("seconds", tuple(point.seconds for point in points))
    charts.append(("Cost", line_chart(labels, [seconds], across=across, up="seconds a sample")))
    tokens = Series("tokens", tuple(point.tokens for point in points))
    charts.append(("Length", line_chart(labels, [tokens], across=across, up="tokens a sample")))
    figures = "".join(f"<figure><figcaption>{shown(name)}</figcaption>{chart}</figure>" for name, chart in charts)
    yield f'<h3>Depth sweep</h3><div class="charts">{figures}</div>'


def _accuracy_series(name: str, points: Sequence[SweepPoint]) -> Series:
    return Series(name, tuple(point.accuracy for point in points))


def _level_series(named: NamedRun, level: str, labels: Sequence[str]) -> Series:
    """A level's accuracies, with a gap at a depth that has no sample of it yet."""
    found = {str(point.depth): point.accuracy for point in depth_sweep(named.run, Grading.STRICT, level=level)}
    return Series(f"level {level}", tuple(found.get(label) for label in labels))


def _conditions(result: Results) -> Iterator[str]:
    rows = [
        (
            depth_name(part.depth) or "–",
            f"{part.num_problems:,} of {part.num_asked:,}",
            *(percent(scores.accuracy) for scores in part.scores.values()),
            *(at_largest_k(scores.maj_at_k, scores) for scores in part.scores.values()),
            at_largest_k(part.scores[Grading.STRICT].pass_at_k, part.scores[Grading.STRICT]),
            f"{100 * part.scores[Grading.STRICT].unanswered:.1f}",
            f"{100 * part.cost.truncated:.1f}",
            f"{part.cost.num_tokens / part.cost.num_samples:.0f}",
            f"{part.cost.seconds / part.cost.num_samples:.2f}",
        )
        for part in result.conditions
    ]
    heads = ("depth", "problems", "strict %", "lenient %", "maj@k strict", "maj@k lenient", "pass@k strict")
    more = ("unanswered %", "truncated %", "tokens a sample", "seconds a sample")
    if rows:
        yield "<h3>Votes and cost</h3>" + table((*heads, *more), rows)
    if result.tokens_per_s is not None:
        yield f"<p>{result.tokens_per_s:.1f} tokens a second over {result.wall_s:,.1f} s of wall time.</p>"


def _parts(result: Results) -> Iterator[str]:
    """Accuracy by level and by subject: a row for each, a column for each depth and grading."""
    for name in ("level", "subject"):
        rows: dict[str, dict[str, str]] = {}
        for part in result.parts:
            if value := getattr(part, name):
                cells = rows.setdefault(value, {"problems": f"{part.num_problems:,}"})
                for grading, scores in part.scores.items():
                    cells[f"{depth_name(part.depth)} {grading.value} %".strip()] = percent(scores.accuracy)
        heads = list(dict.fromkeys(head for cells in rows.values() for head in cells))
        if rows:
            lines = ((value, *(cells.get(head, "–") for head in heads)) for value, cells in rows.items())
            yield f"<h3>By {name}</h3>" + table((name, *heads), lines)


def _calibration(named: NamedRun) -> Iterator[str]:
    found = calibration(named.run.completions, Grading.STRICT)
    if found is None:
        return
    told = (
        f"Expected calibration error {found.error:.3f}. A dot is the samples of a tenth of the scores, with a 95 % "
        "interval as if they were independent; the bars below count them."
    )
    yield f'<h3>Calibration of the halting score</h3><div class="charts"><figure>{calibration_chart(found)}'
    yield f"<figcaption>{shown(told)}</figcaption></figure></div>"


def _journal_row(run: JournalledRun, gold: dict[str, int]) -> tuple[str, ...]:
    solutions = [(problem, run.solutions.get(problem.key)) for problem in run.problems]
    answered = [(problem, solution) for problem, solution in solutions if solution is not None]
    rights = [solution.answer == gold[problem.id] for problem, solution in answered if problem.id in gold]
    samples = [sample for sample, _ in run.samples.values()]
    return (
        run.name,
        str(len(run.problems)),
        str(len(answered)) + ("" if run.is_whole else " (not whole)"),
        f"{sum(rights)} of {len(rights)}" if rights else "–",
        str(len(samples)),
        f"{sum(sample.num_tokens for sample in samples):,}",
        f"{sum(solution.seconds for _, solution in answered):.1f}",
        str(sum(bool(solution.guess) for _, solution in answered)),
    )
