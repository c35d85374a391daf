"""Which stop rule spends its samples best on a recorded evaluation?

    kit eval ... --num-samples 16 --out RUN
    python -m benchmarks.stop_rules_on_recordings RUN... [--grading lenient] [--of 8] [--orders 100]

Nothing is drawn anew: the samples of a problem are put in random orders (fixed by the seed), and each rule looks at
them one after another, as if they ended one by one, until it stops or `--of` samples are used. All votes weigh alike.
Gains are in points over "4 equal", paired by problem and order; the interval is a bootstrap over problems. Samples and
tokens are those used, beside those of "4 equal": in a real run attempts are in flight side by side, and what a decided
vote cancels has cost time too, so this is the most that a rule saves.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import fmean

from benchmarks.votes_on_recordings import as_integer
from kit.errors import InputError
from kit.evaluation.intervals import bootstrap
from kit.evaluation.metrics import Grading
from kit.evaluation.reading import read_run
from kit.evaluation.records import Completion, EvalRun
from kit.evaluation.slices import samples_by_problem
from kit.solver.stopping import StopConfig, verdict_on
from kit.voting.rules import RunningHistory
from kit.voting.tally import Vote

BASELINE = "votes(4)"
RULES = (
    BASELINE,
    "votes(3)",
    "votes(2)",
    "lead(3,rest) | votes(4)",
    "lead(2,rest) | votes(4)",
    "lead(2)",
    "adaptive(0.95)",
    "learned(0.003)",
    "uncatchable",
)
_SEED = 20_261_126
_NO_INTEGER = -1  # of answers that are none, which no gold is


@dataclass(frozen=True, slots=True)
class RecordedSample:
    """answer: None without one. is_right: by the run's own grading."""

    answer: int | None
    is_right: bool
    num_tokens: int


@dataclass(frozen=True, slots=True)
class Stopped:
    """Where a rule stopped, the mean over orders: how often its leader is right, and what was used until then."""

    right: float
    num_samples: float
    num_tokens: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A rule over all problems. samples, tokens: over those of the baseline."""

    rule: str
    right: float
    gain: float
    low: float
    high: float
    num_samples: float
    samples: float
    tokens: float


def samples_of(run: EvalRun, grading: Grading, *, least: int) -> list[list[RecordedSample]]:
    """The problems that have at least so many samples, at the run's first depth.

    Raises: InputError if none has.
    """
    found = [
        [_recorded(each, grading) for each in samples]
        for samples in samples_by_problem(run, run.depths[0]).values()
        if len(samples) >= least
    ]
    if not found:
        raise InputError(f"no problem has {least} samples; give fewer with --of")
    return found


def stopped(samples: Sequence[RecordedSample], config: StopConfig, orders: Sequence[Sequence[int]]) -> Stopped:
    """A rule on one problem. orders: places of the samples, at least `config.num_samples` each."""
    runs = [_in_order([samples[place] for place in order], config) for order in orders]
    return Stopped(*(fmean(values) for values in zip(*runs, strict=True)))


def rows_of(problems: Sequence[Sequence[RecordedSample]], *, num_samples: int, num_orders: int) -> list[Row]:
    """A row a rule, each on the same orders of the same samples."""
    orders_of = [orders(len(samples), num_samples, num_orders, seed=place) for place, samples in enumerate(problems)]
    by_rule = {
        rule: [
            stopped(samples, StopConfig(num_samples=num_samples, rule=rule), of)
            for samples, of in zip(problems, orders_of, strict=True)
        ]
        for rule in RULES
    }
    return [_row(rule, by_rule[BASELINE], found) for rule, found in by_rule.items()]


def orders(num_recorded: int, num_drawn: int, num_orders: int, *, seed: int) -> list[list[int]]:
    """Random orders of so many of the recorded samples."""
    random = Random(f"{_SEED}|{seed}")
    return [random.sample(range(num_recorded), num_drawn) for _ in range(num_orders)]


def _in_order(samples: Sequence[RecordedSample], config: StopConfig) -> tuple[float, int, int]:
    """Whether the leader is right where the rule stops, and the samples and tokens until there."""
    history, num_tokens = RunningHistory(), 0
    for sample in samples:
        history.add(None if sample.answer is None else Vote(sample.answer))
        num_tokens += sample.num_tokens
        if verdict_on(history, config) is not None:
            break
    leader = history.tally.leader
    right = {sample.answer for sample in samples if sample.is_right}
    return float(leader is not None and leader.answer in right), len(history), num_tokens


def _row(rule: str, before: Sequence[Stopped], after: Sequence[Stopped]) -> Row:
    gains = [one.right - other.right for one, other in zip(after, before, strict=True)]
    low, high = bootstrap(gains)
    num_samples = fmean(each.num_samples for each in after)
    return Row(
        rule=rule,
        right=fmean(each.right for each in after),
        gain=fmean(gains),
        low=low,
        high=high,
        num_samples=num_samples,
        samples=num_samples / fmean(each.num_samples for each in before),
        tokens=fmean(each.num_tokens for each in after) / fmean(each.num_tokens for each in before),
    )


def _recorded(completion: Completion, grading: Grading) -> RecordedSample:
    grade = grading.of(completion)
    answer = as_integer(grade.answer or "")
    is_other = grade.answer is not None and answer is None
    return RecordedSample(_NO_INTEGER if is_other else answer, grade.is_right, completion.sample.num_tokens)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--grading", choices=[str(each) for each in Grading], default="lenient")
    parser.add_argument("--of", type=int, default=8)
    parser.add_argument("--orders", type=int, default=100)
    args = parser.parse_args()
    for path in args.runs:
        problems = samples_of(read_run(path), Grading(args.grading), least=args.of)
        print(f"\n**{path.name}**: {len(problems)} problems, {args.of} samples at most, {args.grading} answers\n")
        print("| rule | right % | gain over 4 equal [95 %] | samples | of 4 equal's | tokens, of 4 equal's |")
        print("|---|---:|---|---:|---:|---:|")
        for row in rows_of(problems, num_samples=args.of, num_orders=args.orders):
            gain = f"{100 * row.gain:+.2f} [{100 * row.low:+.2f}, {100 * row.high:+.2f}]"
            print(
                f"| {row.rule.replace('|', 'or')} | {100 * row.right:.1f} | {gain} | {row.num_samples:.2f} "
                f"| {row.samples:.2f} | {row.tokens:.2f} |"
            )


if __name__ == "__main__":
    main()
