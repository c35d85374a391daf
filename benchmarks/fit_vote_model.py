"""Fits the learned prior of kit.voting.learned to recorded runs, and says how far it can be trusted.

    python benchmarks/fit_vote_model.py RUN.csv [RUN.csv …]

Each CSV has problem_id, answer (empty: none) and gold, one line an attempt. Expectation maximisation over a
grid of kinds, with a few made-up problems spread over the grid so that no kind is ruled out by a small record.
The table compares each recording's likelihood under the model fitted to all, to the others alone, and to none.
"""

from __future__ import annotations

import csv
import math
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kit.voting.learned import Shape, VoteKind, VoteModel

RIGHT = (0.0, 0.1, 0.25, 0.4, 0.55, 0.7, 0.85, 0.97)
TRAP = (0.0, 0.15, 0.35, 0.6, 0.85)
KINDS = tuple(VoteKind(right, trap) for right in RIGHT for trap in TRAP if right + trap <= 1)
REPEAT = 0.1  # the likelihood still rises beyond, but only by reading second traps as scatter
NUM_MADE_UP = 5.0
NUM_STEPS = 200


@dataclass(frozen=True)
class Recorded:
    """One problem of a recorded run."""

    answers: tuple[int | None, ...]
    gold: int


def main(paths: Sequence[Path]) -> None:
    runs = {path.stem: read_run(path) for path in paths}
    model = fit([problem for run in runs.values() for problem in run])
    flat = VoteModel(KINDS, (1 / len(KINDS),) * len(KINDS), REPEAT)
    print("| recording | problems | nats a problem: fitted to all | to the others | to none |")
    print("|---|---:|---:|---:|---:|")
    for name, run in runs.items():
        others = fit([problem for other, problems in runs.items() if other != name for problem in problems])
        nats = [-math.fsum(map(math.log, (total(each, problem) for problem in run))) / len(run)
                for each in (model, others, flat)]  # fmt: skip
        print(f"| {name} | {len(run)} | {nats[0]:.2f} | {nats[1]:.2f} | {nats[2]:.2f} |")
    print("\n_WEIGHTS = (  # right, trap, weight")
    for kind, weight in zip(model.kinds, model.weights, strict=True):
        print(f"    ({kind.right}, {kind.trap}, {weight:.4f}),")
    print(")")


def read_run(path: Path) -> list[Recorded]:
    answers: dict[str, list[int | None]] = defaultdict(list)
    gold: dict[str, int] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            answers[row["problem_id"]].append(int(row["answer"]) if row["answer"] else None)
            gold[row["problem_id"]] = int(row["gold"])
    return [Recorded(tuple(answers[key]), gold[key]) for key in answers]


def fit(problems: Sequence[Recorded]) -> VoteModel:
    weights = [1 / len(KINDS)] * len(KINDS)
    blank = VoteModel(KINDS, tuple(weights), REPEAT)
    rows = [[likelihood(blank, kind, problem) for kind in KINDS] for problem in problems]
    for _ in range(NUM_STEPS):
        share = [NUM_MADE_UP / len(KINDS)] * len(KINDS)
        for row in rows:
            whole = math.fsum(value * weight for value, weight in zip(row, weights, strict=True))
            for place, value in enumerate(row):
                share[place] += value * weights[place] / whole
        weights = [each / math.fsum(share) for each in share]
    return VoteModel(KINDS, tuple(weights), REPEAT)


def likelihood(model: VoteModel, kind: VoteKind, problem: Recorded) -> float:
    """Of the recorded votes, the right answer being known and the trap not."""
    counts = Counter(answer for answer in problem.answers if answer is not None)
    seen = sorted(counts, key=lambda answer: -counts[answer])
    shape = Shape(tuple(counts[answer] for answer in seen), problem.answers.count(None))
    right = seen.index(problem.gold) if problem.gold in counts else -1
    traps = [place for place in range(-1, len(seen)) if place != right or place < 0]
    return math.fsum(model.likelihood(kind, shape, right, trap) for trap in traps)


def total(model: VoteModel, problem: Recorded) -> float:
    return math.fsum(
        weight * likelihood(model, kind, problem) for kind, weight in zip(model.kinds, model.weights, strict=True)
    )


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
