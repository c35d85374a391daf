"""A data set's name in, its examples out; the one entry for evaluation and training.

A name is one of the known sets (`gsm8k`), a file (`path/file.jsonl`; .json, .csv, .parquet), a folder that holds
`train.jsonl`, `test.jsonl` or their like, a set of the hub (`owner/name`, `owner/name:config`), tasks that are made on
the spot (`reasoning_gym:chain_sum?max_digits=2&size=200`), or a known set's name with a file or folder in its columns
(`gsm8k=path/file.jsonl`).
"""

from __future__ import annotations

import hashlib
import json
import logging
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from kit.data import files, hub, reasoning_gym
from kit.data.columns import LeftOut, Place, Row, Rules, example_of
from kit.data.examples import DataSet, MathExample
from kit.data.known import KNOWN
from kit.errors import InputError, MissingError, did_you_mean
from kit.problem import read_gold, read_problems

log = logging.getLogger(__name__)


def load(name: str, *, split: str = "test", limit: int | None = None, seed: int | None = None) -> DataSet:
    """The examples of a set, in its order.

    split: `train` or `test`; a single file is whatever the caller says. limit: so many of them, the first ones, or
    drawn at random where `seed` is given. Ids that the set lacks are `name-split-row`, whatever the limit.
    Raises: InputError for an unknown set or split, or a row that cannot be read; MissingError for a file, a library or
        a set of the hub that is not there. Each names the file, the row and the value.
    """
    if split not in ("train", "test"):
        raise InputError(f"split must be train or test, got {split!r}")
    if limit is not None and limit < 1:
        raise InputError(f"limit must be >= 1, got {limit}")
    origin = _origin(name, split)
    numbers = range(len(origin.rows))
    order: Iterable[int] = numbers
    if seed is not None and limit is not None:
        order = random.Random(seed).sample(numbers, len(numbers))
    chosen, left_out = _choose(origin, order, limit, label=f"{origin.label}-{split}")
    if left_out:
        told = ", ".join(f"{count} {why}" for why, count in left_out.items())
        log.warning("%s, %s: of %d rows left out: %s", name, split, len(chosen) + sum(left_out.values()), told)
    _check(chosen, origin.source)
    return DataSet(
        name=name,
        split=split,
        source=origin.source,
        sha256=_sha256(chosen),
        examples=chosen,
        left_out=left_out,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Origin:
    """Rows and where they are from. label: begins the ids of rows that have none."""

    source: str
    label: str
    rows: Sequence[Row]
    rules: Rules


def _origin(name: str, split: str) -> _Origin:
    if name.startswith(reasoning_gym.PREFIX):
        found = reasoning_gym.rows(name, split=split)
        return _Origin(source=name, label=found.task, rows=found.rows, rules=reasoning_gym.RULES)
    known, _, place = name.partition("=")
    if place and known in KNOWN:
        return _local(Path(place), split, label=known, rules=KNOWN[known].rules, is_aimo=known == "aimo")
    if name in KNOWN:
        return _from_hub_by_name(name, split)
    path = Path(name)
    if name and (path.exists() or path.suffix in files.READERS):
        return _local(path, split, label=path.stem, rules=Rules(), is_aimo=False)
    if name.count("/") == 1 and all(name.split("/")) and not name.startswith((".", "~")):
        hub_id, _, config = name.partition(":")
        rows = hub.rows(hub_id, config=config or None, split=split)
        return _Origin(source=name, label=hub_id.replace("/", "-"), rows=rows, rules=Rules())
    raise _unknown(name)


def _from_hub_by_name(name: str, split: str) -> _Origin:
    known = KNOWN[name]
    if split not in known.splits:
        raise InputError(f"{name} has no split {split!r}, only {', '.join(known.splits)}")
    rows = hub.rows(known.hub_id, config=known.config, split=known.splits[split])
    return _Origin(source=known.hub_id, label=name, rows=rows, rules=known.rules)


def _local(path: Path, split: str, *, label: str, rules: Rules, is_aimo: bool) -> _Origin:
    file = _file_in(path, split) if path.is_dir() else path
    rows = _aimo_rows(file) if is_aimo and file.suffix == ".csv" else files.rows(file)
    return _Origin(source=str(file), label=label, rows=rows, rules=rules)


def _file_in(folder: Path, split: str) -> Path:
    candidates = [folder / f"{split}{suffix}" for suffix in files.READERS]
    found = [file for file in candidates if file.is_file()]
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(f"{folder}: both {found[0].name} and {found[1].name} are there; name the file itself")
    there = ", ".join(sorted(file.name for file in folder.iterdir())[:10]) or "nothing"
    raise MissingError(f"{folder}: no {candidates[0].name} or its like; found {there}; name the file itself")


def _aimo_rows(path: Path) -> Sequence[Row]:
    """The competition's own CSV, with its rules for ids and answers."""
    gold = read_gold(path)
    problems = read_problems(path)
    if not gold:
        raise InputError(f"{path}: no column 'answer', found id, problem; an evaluation needs the gold answers")
    return [{"id": problem.id, "problem": problem.text, "answer": gold[problem.id]} for problem in problems]


def _unknown(name: str) -> InputError:
    hint = did_you_mean(name, KNOWN)
    expected = f"expected one of {', '.join(KNOWN)}, a file ({', '.join(files.READERS)}) or folder, a set of the hub "
    question = f"{hint} " if hint else ""
    return InputError(f"unknown data set {name!r}: {question}{expected}(owner/name), or {reasoning_gym.PREFIX}TASK")


def _choose(
    origin: _Origin, order: Iterable[int], limit: int | None, *, label: str
) -> tuple[tuple[MathExample, ...], Mapping[str, int]]:
    """The first examples by `order`, in the set's order, and the rows on the way to them that are none."""
    chosen: dict[int, MathExample] = {}
    left_out: Counter[str] = Counter()
    for index in order:
        if len(chosen) == limit:
            break
        place = Place(source=origin.source, number=index + 1)
        example = example_of(origin.rows[index], id_=f"{label}-{index}", place=place, rules=origin.rules)
        if isinstance(example, LeftOut):
            left_out[example] += 1
        else:
            chosen[index] = example
    return tuple(chosen[index] for index in sorted(chosen)), {str(why): count for why, count in left_out.items()}


def _check(examples: Sequence[MathExample], source: str) -> None:
    if not examples:
        raise InputError(f"{source}: holds no problem with a gold answer")
    ids = Counter(example.problem.id for example in examples)
    if doubled := next((id_ for id_, count in ids.items() if count > 1), None):
        raise InputError(f"{source}: id {doubled!r} stands more than once; every problem needs its own id")


def _sha256(examples: Sequence[MathExample]) -> str:
    """Of all but the steps, which follow from the solution or are asked of nobody."""
    digest = hashlib.sha256()
    names = [field.name for field in fields(MathExample) if field.name not in ("problem", "steps")]
    for example in examples:
        told = [astuple(example.problem), *(getattr(example, name) for name in names)]
        digest.update(json.dumps(told, ensure_ascii=True).encode() + b"\n")
    return digest.hexdigest()
