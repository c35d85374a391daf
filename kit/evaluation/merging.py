"""One run out of its shards: their journals in, a journal as one run would have written it out.

Shards must be of the same run, to the letter of their heads (kit and machine belong to sessions, which all stay); what
two of them hold must agree. What no shard holds is listed, and `kit eval` with the merged folder draws it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit.errors import InputError, cannot_write
from kit.evaluation.plan import CellKey
from kit.evaluation.reading import JOURNAL_NAME, read_run
from kit.evaluation.records import EvalRun
from kit.evaluation.run_records import differences
from kit.lock import held
from kit.sampling import FinishReason
from kit.solver.journal import Journal, Record, read_records

_NUM_SHOWN = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """run: what all shards hold together. missing: what no shard holds, one line each."""

    run: EvalRun
    missing: tuple[str, ...]


def merge(out: Path, shards: Sequence[Path]) -> Merged:
    """Write the run of all shards into `out`.

    A shard that is named twice counts once, and so do its seconds.

    Raises: MissingError for a shard without a run; InputError for shards of different runs, for two that hold different
        completions of one sample, and for an `out` that holds a run; StorageError if it cannot be written.
    """
    shards = list({shard.resolve(): shard for shard in shards}.values())
    records_S = [_records(shard) for shard in shards]
    _check_same_run(shards, records_S)
    _check_agree(shards, records_S)
    head = {name: value for name, value in records_S[0][0].items() if name != "kind"} | {"shard": None}
    with held(out):
        path = out / JOURNAL_NAME
        if path.exists():
            raise InputError(f"{path}: is there already; name another folder for the merged run")
        _write(path, head, records_S)
    run = read_run(out)
    return Merged(run=run, missing=tuple(_missing(run, records_S)))


def _records(shard: Path) -> tuple[Record, ...]:
    read_run(shard)  # says what is wrong with it
    return tuple(read_records(shard / JOURNAL_NAME))


def _check_same_run(shards: Sequence[Path], records_S: Sequence[Sequence[Record]]) -> None:
    first = {**records_S[0][0], "shard": None}
    for shard, records in zip(shards[1:], records_S[1:], strict=True):
        if told := list(differences(first, {**records[0], "shard": None})):
            raise InputError(f"{shards[0]} and {shard} are shards of different runs: {'; '.join(told[:_NUM_SHOWN])}")


def _check_agree(shards: Sequence[Path], records_S: Sequence[Sequence[Record]]) -> None:
    seen: dict[CellKey, tuple[Path, Mapping[str, Any]]] = {}
    for shard, records in zip(shards, records_S, strict=True):
        for key, record in _completions(records).items():
            other, drawn = seen.setdefault(key, (shard, record))
            if _drawn(drawn) != _drawn(record):
                problem, depth, number = key
                raise InputError(
                    f"{other} and {shard} hold different texts of one sample (problem {problem}, depth {depth}, number "
                    f"{number}), though their seeds are the same; leave one of the two out"
                )


def _completions(records: Sequence[Record]) -> dict[CellKey, Record]:
    """The last one of each sample that did not fail, as a run counts them."""
    good = (each for each in records if each["kind"] == "completion" and _finish(each) is not FinishReason.FAILED)
    return {(each["problem"], each["depth"], each["number"]): each for each in good}


def _finish(record: Record) -> FinishReason:
    return FinishReason(record["sample"]["finish"])


def _drawn(record: Mapping[str, Any]) -> tuple[Any, ...]:
    """What must be the same wherever a sample was drawn; times are not."""
    sample = record["sample"]
    return sample["text"], sample["num_tokens"], sample["finish"], sample["seed"], record["strict"], record["lenient"]


def _write(path: Path, head: Record, records_S: Sequence[Sequence[Record]]) -> None:
    """All records under one head, complete or not at all. Failed samples go first, so that a good one counts."""
    unfinished = path.with_name(path.name + ".part")
    try:
        unfinished.unlink(missing_ok=True)
        with Journal.open(unfinished, run=head) as journal:
            for record in _in_order(records_S):
                journal.append(record, is_synced=False)
            journal.append({"kind": "merged", "num_shards": len(records_S)})
        unfinished.rename(path)
    except OSError as error:
        raise cannot_write(path, error) from error


def _in_order(records_S: Sequence[Sequence[Record]]) -> Iterator[Record]:
    seen: set[str] = set()
    for records in records_S:
        for record in records:
            if record["kind"] == "problem" and record["problem"] not in seen:
                seen.add(record["problem"])
                yield record
    told = [each for records in records_S for each in records if each["kind"] == "completion"]
    yield from (each for each in told if _finish(each) is FinishReason.FAILED)
    for records in records_S:
        yield from (
            each
            for each in records
            if each["kind"] == "session" or (each["kind"] == "completion" and _finish(each) is not FinishReason.FAILED)
        )


def _missing(run: EvalRun, records_S: Sequence[Sequence[Record]]) -> Iterator[str]:
    places = {each["place"] for records in records_S for each in records if each["kind"] == "problem"}
    absent = sorted(set(range(run.head["data"]["num_examples"])) - places)
    if absent:
        told = [str(records[0]["shard"]) for records in records_S]
        yield f"{len(absent)} problems are in no shard given ({', '.join(told)}): numbers {_listed(absent)} of the data"
    drawn = {(each.problem, each.depth, each.number) for each in run.completions}
    cells = (
        (example.problem.key, depth, number)
        for example in run.examples
        for depth in run.depths
        for number in range(run.num_samples)
    )
    left = [f"{key.rpartition(':')[0]} (depth {depth}, number {number})" for key, depth, number in cells
            if (key, depth, number) not in drawn]  # fmt: skip
    if left:
        yield f"{len(left)} samples are not drawn yet: {_listed(left)}"


def _listed(values: Sequence[object]) -> str:
    more = f" and {len(values) - _NUM_SHOWN} more" if len(values) > _NUM_SHOWN else ""
    return ", ".join(map(str, values[:_NUM_SHOWN])) + more
