"""What attempts at a problem gave and took: read from recorded runs, or drawn from the learned prior.

In: CSV files with one line an attempt, our own journals, or runs of `kit eval`. Out: `Recording`s, and endless
sequences of attempts in random orders. Does not know engines.
"""

from __future__ import annotations

import csv
import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from kit.errors import InputError, MissingError
from kit.problem import ANSWER_MAX, read_gold
from kit.sampling import FinishReason
from kit.solver.journal import Record, read_records
from kit.voting.learned import LEARNED, VoteModel

TOKENS_PER_S = 83.0
"""Of one of eight streams of gpt-oss-120b on an H100 (667 in all, docs/peers.md#common-ancestor): where a recording has
tokens and no times."""

LEAST_ATTEMPTS = 4
"""At a problem, for it to be compared on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedAttempt:
    """answer: None if it gave no usable one. work_s: seconds it takes beside seven others.

    num_calls, mean_entropy: as a Sample's, where they were recorded.
    """

    answer: int | None
    work_s: float
    num_tokens: int
    num_calls: int = 0
    mean_entropy: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One problem and the attempts that were made at it. gold: the right answer; None if not known."""

    name: str
    attempts: tuple[RecordedAttempt, ...]
    gold: int | None


def read_recordings(path: Path, *, gold: Path | None = None) -> tuple[Recording, ...]:
    """The problems of a recorded run: a CSV, a run of `kit eval` (its folder), or a journal (`.jsonl`) with its gold
    answers in an AIMO CSV.

    The CSV's columns: problem_id, answer (empty: none), gold, and time_s or total_tokens or both; num_calls and
    mean_entropy where they are known. Of `kit eval`, problems whose gold is no integer in range are left out, answers
    are the lenient ones, and the run's own gold is used. Of a journal, what
    a vote or a limit cancelled is not told, and what its time limit ended counts as an attempt of that length without
    an answer: a run that stopped early makes problems look quicker than they are.
    Raises: MissingError, InputError naming the file and line.
    """
    path = journal_at(path)
    if not path.is_file():
        raise MissingError(
            f"{path}: no such recording; give a CSV with one line an attempt, a journal.jsonl or a run of `kit eval`"
        )
    recordings = _of_journal(path, read_gold(gold) if gold else {}) if path.suffix == ".jsonl" else _of_csv(path)
    if not recordings:
        raise InputError(f"{path}: holds no attempt; expected a line for each")
    return recordings


def journal_at(path: Path) -> Path:
    """The journal of a run's folder; any other path as it is."""
    return path / "journal.jsonl" if path.is_dir() else path


def read_runs(
    paths: Sequence[Path], *, gold: Path | None = None, needs_gold: bool = False
) -> dict[str, tuple[Recording, ...]]:
    """Recorded runs by name: the file's, or its whole path where the name is taken, as every journal's soon is.

    Raises: as `read_recordings`; InputError for a problem whose answer is not known, where it is needed.
    """
    runs: dict[str, tuple[Recording, ...]] = {}
    for path in paths:
        run = read_recordings(path, gold=gold)
        unknown = [recording.name for recording in run if recording.gold is None]
        if unknown and needs_gold:
            raise InputError(f"{path}: the answer to {unknown[0]!r} is not known; give an AIMO CSV that has it: --gold")
        runs[str(path) if path.stem in runs else path.stem] = run
    return runs


def comparable(runs: Mapping[str, tuple[Recording, ...]]) -> dict[str, tuple[Recording, ...]]:
    """Runs without the problems that too few attempts were made at: from one every vote would be unanimous.

    Raises: InputError for a run of which nothing is left.
    """
    kept: dict[str, tuple[Recording, ...]] = {}
    for name, run in runs.items():
        kept[name] = tuple(recording for recording in run if len(recording.attempts) >= LEAST_ATTEMPTS)
        if not kept[name]:
            raise InputError(f"{name}: no problem has {LEAST_ATTEMPTS} attempts; record more of each to compare")
    return kept


def endless(recording: Recording, rng: Random, *, repeat: float = LEARNED.repeat) -> Iterator[RecordedAttempt]:
    """Its attempts in a random order, then `redrawn` without end."""
    order = list(recording.attempts)
    rng.shuffle(order)
    yield from order
    yield from redrawn(recording, rng, repeat=repeat)


def redrawn(recording: Recording, rng: Random, *, repeat: float = LEARNED.repeat) -> Iterator[RecordedAttempt]:
    """Its attempts drawn with replacement, without end.

    A wrong answer that was given once is, drawn again, another wrong answer (but for the share `repeat`): such
    answers scatter, and to repeat them would hand the vote to answers that hardly ever come twice.
    """
    counts = Counter(attempt.answer for attempt in recording.attempts)
    told = [
        (each, each.answer not in (None, recording.gold) and counts[each.answer] == 1) for each in recording.attempts
    ]
    while True:
        attempt, is_lone = rng.choice(told)
        if is_lone and rng.random() > repeat:
            attempt = replace(attempt, answer=rng.randrange(ANSWER_MAX + 1))
        yield attempt


def resampled(recording: Recording, rng: Random, *, repeat: float = LEARNED.repeat) -> Recording:
    """The problem as another run of as many attempts might have recorded it."""
    attempts = tuple(itertools.islice(redrawn(recording, rng, repeat=repeat), len(recording.attempts)))
    return Recording(name=recording.name, attempts=attempts, gold=recording.gold)


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


_Line = tuple[str, RecordedAttempt, int | None]  # problem, attempt, gold


def _of_csv(path: Path) -> tuple[Recording, ...]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            missing = {"problem_id", "answer", "gold"} - set(rows.fieldnames or ())
            if missing:
                raise InputError(
                    f"{path}: has no column {', '.join(sorted(missing))}; it needs problem_id, answer, gold"
                )
            lines = [_line(row, f"{path}, line {rows.line_num}") for row in rows]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a UTF-8 CSV file ({error})") from None
    by_name = itertools.groupby(sorted(lines, key=lambda line: line[0]), key=lambda line: line[0])
    return tuple(_of_lines(name, list(group), path) for name, group in by_name)


def _line(row: Mapping[str, str | None], where: str) -> _Line:
    try:
        num_tokens = int(row.get("total_tokens") or 0)
        work_s = float(row.get("time_s") or num_tokens / TOKENS_PER_S)
        answer, gold = _number(row["answer"]), _number(row["gold"])
        num_calls = int(row.get("num_calls") or 0)
        entropy = row.get("mean_entropy")
        mean_entropy = float(entropy) if entropy else None
    except ValueError as error:
        raise InputError(f"{where}: {error}; expected numbers") from None
    if not row["problem_id"]:
        raise InputError(f"{where}: has no problem_id; every line needs the problem that was attempted")
    if not 0 < work_s < math.inf or num_tokens < 0:
        raise InputError(f"{where}: needs a time_s or total_tokens above 0")
    num_tokens = num_tokens or max(1, round(work_s * TOKENS_PER_S))
    attempt = RecordedAttempt(
        answer=answer, work_s=work_s, num_tokens=num_tokens, num_calls=num_calls, mean_entropy=mean_entropy
    )
    return row["problem_id"], attempt, gold


def _of_lines(name: str, lines: Sequence[_Line], path: Path) -> Recording:
    golds = {gold for *_, gold in lines}
    if len(golds) > 1:
        raise InputError(f"{path}: problem {name!r} has more than one gold: {', '.join(sorted(map(str, golds)))}")
    return Recording(name=name, attempts=tuple(attempt for _, attempt, _ in lines), gold=golds.pop())


def _number(text: str | None) -> int | None:
    return int(text) if text and text.strip() else None


def _of_journal(path: Path, gold: Mapping[str, int]) -> tuple[Recording, ...]:
    records = list(read_records(path))
    if any(record["kind"] == "completion" for record in records):
        return _of_evaluation(records, path)
    attempts: dict[str, list[RecordedAttempt]] = {}
    for place, record in enumerate(records, start=1):
        if record["kind"] == "sample" and record.get("finish") != FinishReason.FAILED:
            try:
                # The id is the key's first part, so that a problem whose run was killed is known too.
                attempts.setdefault(record["problem"].rpartition(":")[0], []).append(_of_record(record))
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise InputError(f"{path}: record {place} is no sample of the kit's ({error!r})") from None
    return tuple(Recording(name=name, attempts=tuple(each), gold=gold.get(name)) for name, each in attempts.items())


def _of_record(record: Record) -> RecordedAttempt:
    return _attempt(record["answer"], record)


def _attempt(answer: int | None, sample: Record) -> RecordedAttempt:
    entropy = sample.get("mean_entropy")
    return RecordedAttempt(
        answer=answer,
        work_s=max(float(sample["seconds"]), _LEAST_S),
        num_tokens=max(1, int(sample["num_tokens"])),
        num_calls=int(sample.get("num_calls", 0)),
        mean_entropy=None if entropy is None else float(entropy),
    )


def _of_evaluation(records: Sequence[Record], path: Path) -> tuple[Recording, ...]:
    try:
        golds = {each["problem"]: _in_range(each["gold"]) for each in records if each["kind"] == "problem"}
        completions = {
            (each["problem"], each["depth"], each["number"]): each for each in records if each["kind"] == "completion"
        }
        attempts: dict[str, list[RecordedAttempt]] = {}
        for (problem, *_), each in completions.items():
            if each["sample"]["finish"] != FinishReason.FAILED and golds[problem] is not None:
                attempts.setdefault(problem, []).append(_attempt(_in_range(each["lenient"]["answer"]), each["sample"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: no journal of `kit eval`, or a damaged one ({error!r})") from None
    return tuple(
        Recording(name=problem.rpartition(":")[0], attempts=tuple(each), gold=golds[problem])
        for problem, each in attempts.items()
    )


def _in_range(text: str | None) -> int | None:
    """An answer as the competition has them; None for one that is no integer in range."""
    if text is None or not (text.isascii() and text.isdigit() and len(text) <= len(str(ANSWER_MAX))):
        return None
    return int(text) if int(text) <= ANSWER_MAX else None


_LEAST_S = 1e-3
_SCATTERED_ANSWERS = 0.8  # of the attempts that hit neither answer; the others give none
