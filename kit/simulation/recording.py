"""What attempts at a problem gave and took: read from recorded runs, or drawn from the learned prior.

In: CSV files with one line an attempt, or our own journals. Out: `Recording`s, and endless sequences of
attempts in random orders. Does not know engines.
"""

from __future__ import annotations

import csv
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from kit.errors import InputError, MissingError
from kit.journal import read_records
from kit.problem import ANSWER_MAX, read_gold
from kit.vote_model import LEARNED, VoteModel

TOKENS_PER_S = 83.0
"""Of one of eight streams of gpt-oss-120b on an H100 (667 in all, field notes peers.md 1.4): where a recording has
tokens and no times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedAttempt:
    """answer: None if it gave no usable one. work_s: seconds it takes beside seven others."""

    answer: int | None
    work_s: float
    num_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One problem and the attempts that were made at it. gold: the right answer; None if not known."""

    name: str
    attempts: tuple[RecordedAttempt, ...]
    gold: int | None


def read_recordings(path: Path, *, gold: Path | None = None) -> tuple[Recording, ...]:
    """The problems of a recorded run: a CSV, or a journal (`.jsonl`) with its gold answers in an AIMO CSV.

    The CSV's columns: problem_id, answer (empty: none), gold, and time_s or total_tokens or both.
    Raises: MissingError, InputError naming the file and line.
    """
    if not path.is_file():
        raise MissingError(f"{path}: no such recording; give a CSV with one line an attempt, or a journal.jsonl")
    recordings = _of_journal(path, read_gold(gold) if gold else {}) if path.suffix == ".jsonl" else _of_csv(path)
    if not recordings:
        raise InputError(f"{path}: holds no attempt; expected a line for each")
    return recordings


def endless(recording: Recording, rng: Random, *, repeat: float = LEARNED.repeat) -> Iterator[RecordedAttempt]:
    """Its attempts in a random order, then drawn again and again.

    A wrong answer that was given once is, drawn again, another wrong answer (but for the share `repeat`): such
    answers scatter, and to repeat them would hand the vote to answers that hardly ever come twice.
    """
    order = list(recording.attempts)
    rng.shuffle(order)
    yield from order
    answers = [attempt.answer for attempt in order]
    while True:
        attempt = rng.choice(order)
        is_lone = attempt.answer not in (None, recording.gold) and answers.count(attempt.answer) == 1
        if is_lone and rng.random() > repeat:
            attempt = RecordedAttempt(
                answer=rng.randrange(ANSWER_MAX + 1), work_s=attempt.work_s, num_tokens=attempt.num_tokens
            )
        yield attempt


def made_up_run(seed: int, *, num_problems: int = 60) -> tuple[Recording, ...]:
    """A run of problems drawn from the learned prior, eight attempts each, fixed by the seed."""
    rng = Random(f"made up {seed}")
    return tuple(made_up(f"made up {place}", rng, num_attempts=8) for place in range(num_problems))


def made_up(name: str, rng: Random, *, model: VoteModel = LEARNED, num_attempts: int = 64) -> Recording:
    """A problem whose votes are drawn from the prior and whose attempts take log-normal times."""
    kind = rng.choices(model.kinds, model.weights)[0]
    gold, trap = rng.sample(range(ANSWER_MAX + 1), 2)
    median_s = 10 ** rng.uniform(1, 2.8)
    return Recording(
        name=name,
        gold=gold,
        attempts=tuple(
            _made_up_attempt(_drawn(rng, kind.right, kind.trap, gold, trap), median_s, rng) for _ in range(num_attempts)
        ),
    )


def _drawn(rng: Random, right: float, trap_share: float, gold: int, trap: int) -> int | None:
    value = rng.random()
    if value < right:
        return gold
    if value < right + trap_share:
        return trap
    return rng.randrange(ANSWER_MAX + 1) if rng.random() < _SCATTERED_ANSWERS else None


def _made_up_attempt(answer: int | None, median_s: float, rng: Random) -> RecordedAttempt:
    work_s = median_s * math.exp(rng.gauss(0, 0.5))
    return RecordedAttempt(answer=answer, work_s=work_s, num_tokens=max(1, round(work_s * TOKENS_PER_S)))


def _of_csv(path: Path) -> tuple[Recording, ...]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file)
        missing = {"problem_id", "answer", "gold"} - set(rows.fieldnames or ())
        if missing:
            raise InputError(f"{path}: has no column {', '.join(sorted(missing))}; it needs problem_id, answer, gold")
        keyed = [(row["problem_id"], _attempt(row, path, rows.line_num), row["gold"]) for row in rows]
    return tuple(
        Recording(name=name, attempts=tuple(attempt for _, attempt, _ in group), gold=_number(group[0][2]))
        for name, group in _grouped(keyed)
    )


def _grouped(
    keyed: Sequence[tuple[str, RecordedAttempt, str]],
) -> Iterator[tuple[str, list[tuple[str, RecordedAttempt, str]]]]:
    for name, group in itertools.groupby(sorted(keyed, key=lambda each: each[0]), key=lambda each: each[0]):
        yield name, list(group)


def _attempt(row: dict[str, str], path: Path, line: int) -> RecordedAttempt:
    try:
        num_tokens = int(row.get("total_tokens") or 0)
        work_s = float(row.get("time_s") or num_tokens / TOKENS_PER_S)
        answer = _number(row["answer"])
    except ValueError as error:
        raise InputError(f"{path}, line {line}: {error}; expected numbers") from None
    if not work_s > 0:
        raise InputError(f"{path}, line {line}: needs a time_s or total_tokens above 0")
    return RecordedAttempt(answer=answer, work_s=work_s, num_tokens=num_tokens or max(1, round(work_s * TOKENS_PER_S)))


def _number(text: str) -> int | None:
    return int(text) if text.strip() else None


def _of_journal(path: Path, gold: Mapping[str, int]) -> tuple[Recording, ...]:
    attempts: dict[str, list[RecordedAttempt]] = {}
    ids: dict[str, str] = {}
    for record in read_records(path):
        if record["kind"] == "solution":
            ids[record["problem"]] = record["problem_id"]
        elif record["kind"] == "sample" and record["finish"] != "failed":
            attempts.setdefault(record["problem"], []).append(
                RecordedAttempt(
                    answer=record.get("answer"),
                    work_s=max(float(record["seconds"]), _LEAST_S),
                    num_tokens=max(1, int(record["num_tokens"])),
                )
            )
    return tuple(
        Recording(name=ids.get(key, key), attempts=tuple(each), gold=gold.get(ids.get(key, key)))
        for key, each in attempts.items()
    )


_LEAST_S = 1e-3
_SCATTERED_ANSWERS = 0.8  # of the attempts that hit neither answer; the others give none
