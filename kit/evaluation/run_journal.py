"""The journal of an evaluation, open for writing: what was drawn before, and each completion as it ends."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kit.errors import InputError, StorageError
from kit.evaluation.plan import CellKey, EvalPlan
from kit.evaluation.reading import JOURNAL_NAME, drawn_in
from kit.evaluation.records import Completion
from kit.evaluation.run_records import completion_record, differences, problem_record, session_of, session_record
from kit.lock import held
from kit.sampling import FinishReason
from kit.solver.journal import Journal, Record, head_of, read_records

log = logging.getLogger(__name__)

_NUM_SHOWN = 6


@dataclass(slots=True)
class RunJournal:
    """A session's hold on a run's journal.

    drawn: the completions of earlier sessions by key, failed ones left out: those are drawn again.
    """

    drawn: Mapping[CellKey, Completion]
    _journal: Journal
    _begun_s: float
    _keeps_token_stats: bool

    def add(self, completion: Completion) -> None:
        """Keep a completion; it is on disk when this returns.

        Raises: StorageError if it cannot be written.
        """
        session_s = time.monotonic() - self._begun_s
        record = completion_record(completion, session_s=session_s, keeps_token_stats=self._keeps_token_stats)
        self._journal.append(record)


@contextmanager
def open_run(folder: Path, head: Record, session: Record, plan: EvalPlan) -> Iterator[RunJournal]:
    """The journal of this run in `folder`, resumed if it is there.

    session: what this session draws with; a warning tells where the one before drew with something else.

    Raises: InputError if the folder holds another run, or something else by that name, saying what differs;
        StorageError if it cannot be written, or another process is writing it.
    """
    path = folder / JOURNAL_NAME
    with held(folder):
        _check_is_ours(path, head)
        with Journal.open(path, run=head) as journal:
            known = {record.get("problem") for record in journal.past("problem")}
            places = {example.problem.key: place for place, example in enumerate(plan.data.examples)}
            for example in plan.examples:
                if example.problem.key not in known:
                    journal.append(problem_record(example, places[example.problem.key]), is_synced=False)
            _warn_of_change(path, journal, session)
            journal.append(session_record(session, begun_unix_s=time.time(), batch_size=plan.batch_size))
            yield RunJournal(_well_drawn(journal, path), journal, time.monotonic(), plan.keeps_token_stats)


def _well_drawn(journal: Journal, path: Path) -> dict[CellKey, Completion]:
    try:
        drawn = drawn_in(journal.past("completion"))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: a completion in it is damaged ({error!r}); give another --out") from error
    return {key: each for key, each in drawn.items() if each.sample.finish is not FinishReason.FAILED}


def _check_is_ours(path: Path, head: Record) -> None:
    """Refuse a journal of another run, which Journal.open would set aside."""
    if not path.exists():
        return
    try:
        found = next(read_records(path), None)
    except OSError as error:
        raise StorageError(f"{path}: cannot be read ({error.strerror}); give another --out") from error
    if found is None:
        if path.stat().st_size:  # a head that a kill has torn is begun anew; what has a whole line is something else
            _check_is_torn(path)
        return
    if told := list(differences(head_of(head), found)):
        raise InputError(f"{path.parent} holds another run: {_listed(told)}. Give another --out, or the same settings")


def _warn_of_change(path: Path, journal: Journal, session: Record) -> None:
    before = [session_of(record) for record in journal.past("session")]
    if before and before[-1] and (told := list(differences(head_of(session), {"kind": "run", **before[-1]}))):
        log.warning("%s: goes on under another kit or machine than before: %s", path.parent, _listed(told))


def _listed(told: Sequence[str]) -> str:
    more = f", and {len(told) - _NUM_SHOWN} more" if len(told) > _NUM_SHOWN else ""
    return "; ".join(told[:_NUM_SHOWN]) + more


def _check_is_torn(path: Path) -> None:
    if b"\n" in path.read_bytes():
        raise InputError(f"{path}: no journal of `kit eval`; give another --out")
