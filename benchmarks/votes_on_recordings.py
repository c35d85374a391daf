"""Do confidence weights, or the model's own choice among the answers, vote better than a plain majority?

    kit eval ... --num-samples 8 --token-stats --out RUN
    python -m benchmarks.votes_on_recordings RUN... [--grading lenient] [--ks 4,8]
    python -m benchmarks.votes_on_recordings RUN --genselect MODEL --limit 20 --kept PICKS.jsonl

On recorded runs, nothing is drawn anew for the weights: for each k, every subset of k of a problem's samples votes (at
most MAX_SUBSETS of them, drawn with a fixed seed), once with all votes alike and once by each weighing that the kit
has. What a problem gains is the mean over its subsets; the interval is a paired bootstrap over problems. `within` tells
whether a weighing knows anything at all: of two samples of one problem, one right and one wrong, how often the right
one weighs more (a tie is half; 50 % is chance). `spread` is what the weights reach, from the 5th to the 95th
percentile. The kit's scales are absolute; `scaled` weighs by the same reading on the scale of the run itself, from its
own 5th to its 95th percentile, which no solver can know beforehand: it tells a reading that says nothing from a scale
that does not fit.

GenSelect cannot be read off a recording: the model has to be asked once more. `--genselect` does so, on the first
`--limit` contested problems that have a right candidate (elsewhere it cannot gain), with the settings of
`kit.solver.genselect` and what `--rounds` and `--max-new-tokens` say, and keeps each selection in `--kept`, where a
second call goes on. A selection that is not live leaves the majority's answer, as in the solver.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from random import Random
from statistics import fmean, quantiles
from typing import Any

from benchmarks.extraction_agreement import rows
from kit.errors import InputError
from kit.evaluation.intervals import bootstrap, estimated
from kit.evaluation.metrics import Grading, pass_at
from kit.evaluation.reading import read_run
from kit.evaluation.records import Completion, EvalRun
from kit.evaluation.slices import samples_by_problem
from kit.problem import Problem
from kit.sampling import Sample
from kit.solver.genselect import Candidate, SelectionConfig, select, summary_of
from kit.voting.tally import MAX_WEIGHT, MIN_WEIGHT, Vote, tally
from kit.voting.weights import (
    WEIGHINGS,
    bottom_confidence,
    lowest_confidence,
    mean_confidence,
    tail_confidence,
    tail_entropy,
)

MAX_SUBSETS = 200
_SEED = 20_251_126
_BELOW_INTEGERS = -(10**12)  # of an answer that is no integer: less than any that an integer set has


@dataclass(frozen=True, slots=True, kw_only=True)
class WeighedAnswer:
    """One sample's answer as a number to vote on, None without one; whether it is right; its weight by weighing."""

    answer: int | None
    is_right: bool
    weights: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One weighing at one k. gain: over plain majority, with its paired interval. fixed, spoilt: problems by sign."""

    weighing: str
    maj: float
    gain: float
    low: float
    high: float
    num_fixed: int
    num_spoilt: int


# ------------------------------------------------------------------------------------------------ weights


def answers_of(samples_PG: Iterable[Sequence[Completion]], grading: Grading) -> list[list[WeighedAnswer]]:
    """The votes of P problems with G samples each."""
    told = list(samples_PG)
    scales = scales_of([each for samples in told for each in samples])
    return [_of_problem(samples, grading, scales) for samples in told]


READINGS: Mapping[str, Callable[[Sample], float | None]] = {
    "entropy": lambda sample: _turned(sample.mean_entropy),
    "tail_entropy": lambda sample: _turned(tail_entropy(sample.token_stats)),
    "deepconf_mean": lambda sample: mean_confidence(sample.token_stats),
    "deepconf_tail": lambda sample: tail_confidence(sample.token_stats),
    "deepconf_bottom": lambda sample: bottom_confidence(sample.token_stats),
    "deepconf_lowest": lambda sample: lowest_confidence(sample.token_stats),
}
"""What a weighing is read from, the more the surer, in nats."""


@dataclass(frozen=True, slots=True)
class Scale:
    """The readings, in nats, that weigh MIN_WEIGHT and MAX_WEIGHT; linear between."""

    least: float
    most: float

    def weight(self, reading: float | None) -> float:
        """Within the bounds of a vote; 1 for what is not known, or where all readings are one."""
        if reading is None or self.most <= self.least:
            return 1.0
        share = min(max((reading - self.least) / (self.most - self.least), 0.0), 1.0)
        return MIN_WEIGHT + (MAX_WEIGHT - MIN_WEIGHT) * share


def scales_of(samples: Sequence[Completion]) -> dict[str, Scale]:
    """For each reading, its 5th and 95th percentile in the run: the scale that the run itself would choose."""
    scales = {}
    for how, read in READINGS.items():
        values = [value for each in samples if (value := read(each.sample)) is not None]
        cuts = quantiles(values, n=20) if len(values) > 1 else [0.0]
        scales[how] = Scale(cuts[0], cuts[-1])
    return scales


def _turned(value: float | None) -> float | None:
    return None if value is None else -value


def _of_problem(samples: Sequence[Completion], grading: Grading, scales: Mapping[str, Scale]) -> list[WeighedAnswer]:
    grades = [grading.of(each) for each in samples]
    texts = sorted({grade.answer for grade in grades if grade.answer is not None and as_integer(grade.answer) is None})
    others = {text: _BELOW_INTEGERS + place for place, text in enumerate(texts)}
    return [
        WeighedAnswer(
            answer=None if grade.answer is None else others.get(grade.answer, as_integer(grade.answer)),
            is_right=grade.is_right,
            weights=_weights(each.sample, scales),
        )
        for each, grade in zip(samples, grades, strict=True)
    ]


def _weights(sample: Sample, scales: Mapping[str, Scale]) -> dict[str, float]:
    as_they_are = {how: weighing(sample) for how, weighing in WEIGHINGS.items()}
    return as_they_are | {f"{how}, scaled": scales[how].weight(read(sample)) for how, read in READINGS.items()}


def as_integer(answer: str) -> int | None:
    """An answer that is written as an integer of up to eleven digits."""
    digits = answer.removeprefix("-")
    return int(answer) if digits.isascii() and digits.isdigit() and len(digits) <= 11 else None


def is_vote_right(answers: Sequence[WeighedAnswer], how: str) -> bool:
    """Whether the answer with the most weight is right; without any answer it is not."""
    votes = [Vote(each.answer, each.weights[how]) for each in answers if each.answer is not None]
    leader = tally(votes).leader
    return leader is not None and any(each.is_right for each in answers if each.answer == leader.answer)


def subsets_of(num_samples: int, k: int) -> list[tuple[int, ...]]:
    """The subsets of k samples, all of them or MAX_SUBSETS drawn with a fixed seed."""
    if math.comb(num_samples, k) <= MAX_SUBSETS:
        return list(combinations(range(num_samples), k))
    random = Random(_SEED)
    return [tuple(sorted(random.sample(range(num_samples), k))) for _ in range(MAX_SUBSETS)]


def share_right(answers: Sequence[WeighedAnswer], how: str, k: int) -> float:
    """The share of a problem's subsets of k samples whose vote is right."""
    subsets = subsets_of(len(answers), k)
    return fmean(is_vote_right([answers[place] for place in subset], how) for subset in subsets)


def rows_of(answers_PG: Sequence[Sequence[WeighedAnswer]], k: int) -> list[Row]:
    """A row a weighing, of the problems with at least k samples.

    Raises: InputError if no problem has so many.
    """
    enough = [answers for answers in answers_PG if len(answers) >= k]
    if not enough:
        raise InputError(f"no problem has {k} samples; give fewer with --ks")
    plain = [share_right(answers, "count", k) for answers in enough]
    return [_row(how, plain, [share_right(answers, how, k) for answers in enough]) for how in _weighings()]


def _row(how: str, plain: Sequence[float], weighed: Sequence[float]) -> Row:
    gains = [after - before for before, after in zip(plain, weighed, strict=True)]
    low, high = bootstrap(gains)
    return Row(
        weighing=how,
        maj=fmean(weighed),
        gain=fmean(gains),
        low=low,
        high=high,
        num_fixed=sum(gain > 0 for gain in gains),
        num_spoilt=sum(gain < 0 for gain in gains),
    )


def knows_anything(answers_PG: Sequence[Sequence[WeighedAnswer]], how: str) -> bool:
    """Whether any vote weighs other than 1, which is what a weighing gives for what it does not know."""
    return any(each.weights[how] != 1 for answers in answers_PG for each in answers)


def within_problems(answers_PG: Sequence[Sequence[WeighedAnswer]], how: str) -> float | None:
    """Of the pairs of a right and a wrong sample of one problem, the share in which the right one weighs more.

    The mean over problems that have both; a tie counts half; a sample without an answer is left out. None without any.
    """
    shares = []
    for answers in answers_PG:
        right = [each.weights[how] for each in answers if each.is_right]
        wrong = [each.weights[how] for each in answers if not each.is_right and each.answer is not None]
        if right and wrong:
            shares.append(fmean((a > b) + (a == b) / 2 for a in right for b in wrong))
    return fmean(shares) if shares else None


def _weighings() -> tuple[str, ...]:
    return (*WEIGHINGS, *(f"{how}, scaled" for how in READINGS))


# ---------------------------------------------------------------------------------------------- GenSelect


@dataclass(frozen=True, slots=True, kw_only=True)
class Contested:
    """A problem whose samples disagree. majority: the answer that leads. gold: as an integer."""

    problem: Problem
    gold: int
    majority: int
    candidates: tuple[Candidate, ...]

    @property
    def has_right(self) -> bool:
        """Whether any candidate is right, without which no selection can be."""
        return any(each.answer == self.gold for each in self.candidates)


def contested(run: EvalRun, grading: Grading, *, summary_chars: int) -> list[Contested]:
    """The problems with two answers or more, in the run's order; of each answer its first sample's end is shown.

    Answers that GenSelect cannot name, those outside of the competition's range, are no candidates.
    """
    found = []
    samples = samples_by_problem(run, run.depths[0])
    for example in run.examples:
        texts: dict[int, list[str]] = {}
        for each in samples.get(example.problem.key, ()):
            answer = as_integer(grading.of(each).answer or "")
            if answer is not None and 0 <= answer < 100_000:
                texts.setdefault(answer, []).append(each.sample.text)
        gold = as_integer(example.gold)
        if gold is None or len(texts) < 2:
            continue
        standings = tally(Vote(answer) for answer, of_answer in texts.items() for _ in of_answer).standings
        candidates = tuple(
            Candidate(
                answer=each.answer,
                num_votes=each.num_votes,
                summary=summary_of(texts[each.answer][0], max_chars=summary_chars),
            )
            for each in standings
        )
        found.append(Contested(problem=example.problem, gold=gold, majority=standings[0].answer, candidates=candidates))
    return found


def selection_table(problems: Sequence[Contested], kept: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The table's lines, of the problems of which a selection is kept.

    As used: the pick where the selector is live, else the majority. As picked: the first of the picks, live or not.
    """
    asked = [each for each in problems if each.problem.key in kept]
    if not asked:
        return ["no contested problem was asked"]
    of = [kept[each.problem.key] for each in asked]
    majority = [float(each.majority == each.gold) for each in asked]
    used = [
        float((s["majority"] if s["answer"] is None else s["answer"]) == e.gold) for e, s in zip(asked, of, strict=True)
    ]
    raw = [float(bool(s["num_parsed"]) and s["picks"][0][0] == e.gold) for e, s in zip(asked, of, strict=True)]
    lines = ["| answer | right | of | gain over majority |", "|---|---:|---:|---|"]
    for name, rights in (("majority", majority), ("GenSelect as used", used), ("GenSelect's picks, live or not", raw)):
        gains = [after - before for before, after in zip(majority, rights, strict=True)]
        low, high = bootstrap(gains)
        gain = f"{100 * fmean(gains):+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"
        lines.append(f"| {name} | {sum(rights):.0f} | {len(asked)} | {gain} |")
    states = dict.fromkeys(s["liveness"] for s in of)
    told = ", ".join(f"{sum(s['liveness'] == state for s in of)} {state}" for state in states)
    rounds, parsed = sum(s["num_rounds"] for s in of), sum(s["num_parsed"] for s in of)
    control = sum(s["num_control_picks"] for s in of)
    lines += [
        "",
        f"selectors: {told}; {parsed} of {rounds} rounds readable, {control} of them picked the planted control;",
        f"{sum(s['num_tokens'] for s in of)} tokens",
    ]
    return lines


def ask(
    problems: Sequence[Contested], model: Path, config: SelectionConfig, *, kept_in: Path, on_kept: Callable[[], None]
) -> None:
    """Have the model compare the candidates of each problem that is not kept yet, and keep what it says."""
    from kit.engines.opening import open_engine
    from kit.tasks import run_plainly

    async def run() -> None:
        async with open_engine(model, dtype="float32", num_threads=1, max_batch=config.num_rounds) as engine:
            for each in problems:
                selection = await select(
                    engine,
                    each.problem,
                    each.candidates,
                    config=config,
                    seed=0,
                    timeout_s=3600,
                    width=config.num_rounds,
                )
                record = {"problem": each.problem.key, "majority": each.majority, "config": asdict(config)}
                with kept_in.open("a") as file:
                    file.write(json.dumps({**record, **asdict(selection)}) + "\n")
                on_kept()

    run_plainly(run)


def read_kept(path: Path, config: SelectionConfig) -> dict[str, Mapping[str, Any]]:
    """What an earlier call kept, by problem.

    Raises: InputError where it was asked with other settings.
    """
    records = list(rows(path)) if path.is_file() else []
    for record in records:
        if record["config"] != asdict(config):
            raise InputError(f"{path}: was asked with {record['config']}; name another file, or delete it")
    return {record["problem"]: record for record in records}


# ------------------------------------------------------------------------------------------------ the tables


def main() -> None:
    args = _parse()
    grading, ks = Grading(args.grading), [int(k) for k in args.ks.split(",")]
    for path in args.runs:
        run = read_run(path)
        print(f"\n## {path.name}: {len(run.examples)} problems, {len(run.completions)} samples, {grading} answers")
        if args.genselect is None:
            print_weights(answers_of(samples_by_problem(run, run.depths[0]).values(), grading), ks)
        else:
            print_selection(run, grading, args)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--grading", choices=[str(each) for each in Grading], default="lenient")
    parser.add_argument("--ks", default="4,8")
    parser.add_argument("--genselect", type=Path, metavar="MODEL")
    parser.add_argument("--limit", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--max-new-tokens", type=int, default=128)
    parser.add_argument("--kept", type=Path, default=Path("genselect.jsonl"))
    return parser.parse_args()


def print_weights(answers_PG: Sequence[Sequence[WeighedAnswer]], ks: Sequence[int]) -> None:
    """A row a weighing and k, then what any vote could reach."""
    print("\n| weighing | within % | spread | " + " | ".join(f"maj@{k} % | gain [95 %] | +/−" for k in ks) + " |")
    print("|---|---:|---|" + "---:|---|---|" * len(ks))
    by_k = [rows_of(answers_PG, k) for k in ks]
    silent = [how for how in _weighings() if how != "count" and not knows_anything(answers_PG, how)]
    for how, *of_ks in zip(_weighings(), *by_k, strict=True):
        if how in silent:
            continue
        within = within_problems(answers_PG, how)
        cuts = quantiles([each.weights[how] for answers in answers_PG for each in answers], n=20)
        cells = [f"{100 * r.maj:.1f} | {_gain(r)} | {r.num_fixed}/{r.num_spoilt}" for r in of_ks]
        told = "-" if within is None else f"{100 * within:.1f}"
        print(f"| {how} | {told} | {cuts[0]:.3f}–{cuts[-1]:.3f} | {' | '.join(cells)} |")
    if silent:
        print(f"not measured: {', '.join(silent)}: every vote weighs 1 (drawn without --token-stats, or no recursion)")
    for k in ks:
        reach = [
            pass_at(k, num_right=sum(each.is_right for each in answers), num_samples=len(answers))
            for answers in answers_PG
            if len(answers) >= k
        ]
        found = estimated(reach)
        print(f"pass@{k}, which no vote exceeds: {found.value:.1%} [{found.low:.1%}, {found.high:.1%}]")


def _gain(row: Row) -> str:
    return f"{100 * row.gain:+.2f} [{100 * row.low:+.2f}, {100 * row.high:+.2f}]"


def print_selection(run: EvalRun, grading: Grading, args: argparse.Namespace) -> None:
    """Ask on, then the table of all that is kept."""
    config = SelectionConfig(num_rounds=args.rounds, max_new_tokens=args.max_new_tokens)
    found = contested(run, grading, summary_chars=config.summary_chars)
    chosen = [each for each in found if each.has_right][: args.limit]
    kept = read_kept(args.kept, config)
    left = [each for each in chosen if each.problem.key not in kept]
    num_open = sum(each.has_right for each in found)
    told = f"{len(found)} problems are contested, {num_open} with a right candidate"
    print(f"{told}; {len(chosen)} of these are asked, {len(left)} anew", flush=True)
    if left:
        ask(left, args.genselect, config, kept_in=args.kept, on_kept=lambda: print(".", end="", flush=True))
        print()
    print("\n".join(selection_table(chosen, read_kept(args.kept, config))))


if __name__ == "__main__":
    main()
