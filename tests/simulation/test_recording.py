"""What attempts gave and took, read from recorded runs and journals, or made up."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path
from random import Random

import pytest
import trio
import trio.testing

from kit.budget import Budget, BudgetConfig
from kit.errors import InputError, MissingError
from kit.problem import Problem
from kit.simulation.engine import ReplayEngine, marked
from kit.simulation.recording import (
    TOKENS_PER_S,
    RecordedAttempt,
    Recording,
    endless,
    made_up,
    made_up_run,
    read_recordings,
)
from kit.simulation.speeds import linear
from kit.solver.config import SolverConfig
from kit.solver.journal import Journal, read_records
from kit.solver.pacing import PacingConfig
from kit.solver.solver import Solver
from kit.solver.stopping import StopConfig
from kit.voting.learned import VoteKind, VoteModel

HEADER = "problem_id,answer,gold,time_s,total_tokens\n"


def written(folder: Path, text: str, *, name: str = "run.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def attempt(answer: int | None, work_s: float = 1.0) -> RecordedAttempt:
    return RecordedAttempt(answer=answer, work_s=work_s, num_tokens=1)


@pytest.mark.parametrize(
    ("name", "num_problems", "num_attempts"),
    [
        ("aimo3_reference_deepseek_tir", 10, 80),
        ("aimo3_reference_gptoss120b_a", 10, 80),
        ("aimo3_reference_gptoss20b", 10, 80),
        ("gptoss120b_tools_37problems", 37, None),
    ],
)
def test_the_recorded_runs_read_whole(
    shared_data: Path, name: str, num_problems: int, num_attempts: int | None
) -> None:
    path = shared_data / "attempts" / f"{name}.csv"
    recordings = read_recordings(path)
    lines = path.read_text(encoding="utf-8").splitlines()[1:]
    assert len(recordings) == num_problems
    assert sum(len(each.attempts) for each in recordings) == len(lines) == (num_attempts or len(lines))
    assert all(each.gold is not None for each in recordings)
    right = sum(item.answer == each.gold for each in recordings for item in each.attempts)
    assert right == sum(",True" in line for line in lines)  # the files' own verdicts


def test_a_line_is_an_attempt_and_an_empty_answer_is_none(tmp_path: Path) -> None:
    path = written(tmp_path, HEADER + "b,,5,2.5,100\na,7,7,1,\nb,5,5,,830\n")
    assert read_recordings(path) == (
        Recording(name="a", gold=7, attempts=(RecordedAttempt(answer=7, work_s=1.0, num_tokens=83),)),
        Recording(
            name="b",
            gold=5,
            attempts=(
                RecordedAttempt(answer=None, work_s=2.5, num_tokens=100),
                RecordedAttempt(answer=5, work_s=830 / TOKENS_PER_S, num_tokens=830),
            ),
        ),
    )


def test_a_csv_without_gold_values_tells_that_they_are_not_known(tmp_path: Path) -> None:
    assert read_recordings(written(tmp_path, HEADER + "a,7,,1,\n"))[0].gold is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "has no column answer, gold, problem_id"),
        ("problem_id,gold\na,1\n", "has no column answer"),
        (HEADER, "holds no attempt"),
        (HEADER + "a,seven,7,1,1\n", "line 2.*'seven'.*expected numbers"),
        (HEADER + "a,7,7,1,1\na,7,seven,1,1\n", "line 3.*'seven'.*expected numbers"),
        (HEADER + "a,7,7,soon,1\n", "line 2.*'soon'"),
        (HEADER + "a,7,7,,\n", "line 2: needs a time_s or total_tokens"),
        (HEADER + "a,7,7,0,0\n", "line 2: needs a time_s or total_tokens"),
        (HEADER + "a,7,7,nan,1\n", "line 2: needs a time_s or total_tokens"),
        (HEADER + "a,7,7,inf,1\n", "line 2: needs a time_s or total_tokens"),
        (HEADER + "a,7,7,1,-1\n", "line 2: needs a time_s or total_tokens"),
        (HEADER + "a\n", "line 2: needs a time_s or total_tokens"),
        (HEADER + ",7,7,1,1\n", "line 2: has no problem_id"),
        (HEADER + "a,7,7,1,1\na,7,8,1,1\n", "problem 'a' has more than one gold: 7, 8"),
    ],
)
def test_a_bad_csv_is_one_error_that_names_the_file(tmp_path: Path, text: str, says: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(InputError, match=says) as caught:
        read_recordings(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_csv_that_is_no_text_is_one_error(tmp_path: Path) -> None:
    path = tmp_path / "run.csv"
    path.write_bytes(b"problem_id,answer,gold\n\xff\xfe,1,1\n")
    with pytest.raises(InputError, match="not a UTF-8 CSV file"):
        read_recordings(path)


@pytest.mark.parametrize("name", ["absent.csv", "absent.jsonl", "."])
def test_a_recording_that_is_not_there_is_missing(tmp_path: Path, name: str) -> None:
    with pytest.raises(MissingError, match="no such recording"):
        read_recordings(tmp_path / name)


RECORDINGS = (
    Recording(name="p0", gold=7, attempts=(attempt(7, 10.0), attempt(7, 20.0), attempt(8, 30.0), attempt(None, 40.0))),
    Recording(name="p1", gold=9, attempts=(attempt(9, 15.0), attempt(9, 25.0), attempt(9, 35.0), attempt(3, 45.0))),
)


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """A journal of ours, of a scenario with these recordings in which every attempt ends."""
    path = tmp_path / "journal.jsonl"
    config = SolverConfig(stop=StopConfig(num_samples=4, rule="uncatchable"), pacing=PacingConfig(kind="off"))

    async def scenario() -> None:
        engine = ReplayEngine(lambda place: iter(RECORDINGS[place].attempts), trio.current_time, speeds=linear(0.0))
        with Journal.open(path, run={"a": "test"}) as writing:
            async with engine.running():
                solver = Solver(engine, Budget(BudgetConfig(), trio.current_time), writing, config)
                for place, each in enumerate(RECORDINGS):
                    await solver.solve(Problem(each.name, marked(place)))

    trio.run(scenario, clock=trio.testing.MockClock(autojump_threshold=0))
    return path


GOLD = "id,problem,answer\np0,x,7\np1,x,9\n"


def test_a_journal_of_ours_is_read_back_as_what_was_played(tmp_path: Path, journal: Path) -> None:
    """p1 is decided by its third vote, so that its slowest attempt was cancelled and is not told."""
    first, second = read_recordings(journal, gold=written(tmp_path, GOLD))
    assert (first.name, first.gold, second.name, second.gold) == ("p0", 7, "p1", 9)
    assert [each.answer for each in first.attempts] == [7, 7, 8, None]
    assert [each.work_s for each in first.attempts] == pytest.approx([10.0, 20.0, 30.0, 40.0])
    assert [each.answer for each in second.attempts] == [9, 9, 9]


def test_a_journal_without_gold_tells_that_it_is_not_known(journal: Path) -> None:
    assert [each.gold for each in read_recordings(journal)] == [None, None]


def test_a_problem_whose_run_was_killed_is_known_by_its_id(tmp_path: Path, journal: Path) -> None:
    """A regression test: the id came from the solution's record alone, and a journal cut short was refused whole."""
    kept = [line for line in journal.read_text(encoding="utf-8").splitlines() if '"kind":"solution"' not in line]
    path = written(tmp_path, "\n".join(kept), name="cut.jsonl")
    assert [each.gold for each in read_recordings(path, gold=written(tmp_path, GOLD))] == [7, 9]


def test_broken_attempts_in_a_journal_are_no_attempts(tmp_path: Path, journal: Path) -> None:
    records = [dict(record) for record in read_records(journal)]
    sample = next(record for record in records if record["kind"] == "sample")
    sample["finish"] = "failed"
    path = written(tmp_path, "\n".join(map(json.dumps, records)), name="broken.jsonl")
    assert len(read_recordings(path)[0].attempts) == 3


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ({"kind": "sample"}, "record 1 is no sample of the kit's.*problem"),
        (
            {"kind": "sample", "problem": "a:0", "answer": 1, "seconds": "long", "num_tokens": 1},
            "record 1 is no sample",
        ),
        ({"kind": "sample", "problem": 7, "answer": 1, "seconds": 1, "num_tokens": 1}, "record 1 is no sample"),
        ({"kind": "run"}, "holds no attempt"),
        ([1, 2], "holds no attempt"),
    ],
)
def test_a_bad_journal_is_one_error_that_names_the_file(tmp_path: Path, record: object, says: str) -> None:
    path = written(tmp_path, json.dumps(record), name="journal.jsonl")
    with pytest.raises(InputError, match=says) as caught:
        read_recordings(path)
    assert str(path) in str(caught.value)


def test_the_first_pass_through_a_recording_is_a_permutation_and_every_seed_has_its_own() -> None:
    recording = Recording(name="a", gold=0, attempts=tuple(attempt(answer) for answer in range(8)))
    passes = {tuple(itertools.islice(endless(recording, Random(seed)), 8)) for seed in range(50)}
    assert all(sorted(each, key=recording.attempts.index) == list(recording.attempts) for each in passes)
    assert len(passes) == 50


def after_the_first_pass(recording: Recording, num: int, *, repeat: float = 0.1) -> list[RecordedAttempt]:
    first = len(recording.attempts)
    return list(itertools.islice(endless(recording, Random(1), repeat=repeat), first, first + num))


def test_later_draws_are_recorded_attempts_alike_often() -> None:
    recording = Recording(
        name="a", gold=5, attempts=(attempt(5, 1.0), attempt(5, 2.0), attempt(6, 3.0), attempt(6, 4.0))
    )
    counts = Counter(after_the_first_pass(recording, 4000))
    assert set(counts) == set(recording.attempts)
    assert all(abs(count - 1000) < 150 for count in counts.values())  # 5 standard deviations


def test_a_wrong_answer_given_once_scatters_but_for_the_share_that_repeats() -> None:
    recording = Recording(name="a", gold=5, attempts=(attempt(5, 1.0), attempt(6, 2.0)))
    drawn = after_the_first_pass(recording, 4000)
    lone = [each.answer for each in drawn if each.work_s == 2.0]
    assert abs(len(lone) - 2000) < 160
    assert abs(lone.count(6) / len(lone) - 0.1) < 0.04
    assert all(each.answer == 5 for each in drawn if each.work_s == 1.0)  # the right one does repeat
    assert max(Counter(answer for answer in lone if answer != 6).values()) < 5


@pytest.mark.parametrize("repeat", [0.0, 1.0])
def test_the_share_that_repeats_may_be_none_or_all(repeat: float) -> None:
    recording = Recording(name="a", gold=5, attempts=(attempt(99_999),))
    answers = {each.answer for each in after_the_first_pass(recording, 50, repeat=repeat)}
    assert answers == {99_999} if repeat else 99_999 not in answers


def test_attempts_without_an_answer_are_drawn_again_as_they_are() -> None:
    recording = Recording(name="a", gold=5, attempts=(attempt(None),))
    assert {each.answer for each in after_the_first_pass(recording, 50)} == {None}


def test_made_up_problems_follow_their_kind() -> None:
    model = VoteModel(kinds=(VoteKind(0.5, 0.3),), weights=(1.0,))
    recording = made_up("a", Random(3), model=model, num_attempts=4000)
    counts = Counter(each.answer for each in recording.attempts)
    (first, num_first), (second, num_second) = [pair for pair in counts.most_common(3) if pair[0] is not None][:2]
    assert first == recording.gold != second
    assert abs(num_first - 2000) < 160
    assert abs(num_second - 1200) < 150
    assert abs(counts[None] - 160) < 65  # a fifth of the rest


def test_a_made_up_run_is_fixed_by_its_seed() -> None:
    assert made_up_run(3) == made_up_run(3) != made_up_run(4)
    assert {len(each.attempts) for each in made_up_run(3)} == {8}
    assert len(made_up_run(3)) == 60


# ------------------------------------------------------------------------------------------ runs of `kit eval`

EVALUATION = (
    '{"kind":"run","num_samples":2}\n'
    '{"kind":"problem","problem":"a:0123456789ab","gold":"7"}\n'
    '{"kind":"problem","problem":"b:0123456789ab","gold":"1/2"}\n'
    + "".join(
        f'{{"kind":"completion","problem":"{problem}:0123456789ab","depth":null,"number":{number},'
        f'"sample":{{"finish":"stop","seconds":3.5,"num_tokens":12,"mean_entropy":0.5,"num_calls":2}},'
        f'"lenient":{{"answer":{answer}}}}}\n'
        for problem, number, answer in (("a", 0, '"7"'), ("a", 1, '"-3"'), ("a", 0, '"8"'), ("b", 0, '"1"'))
    )
)


def test_a_run_of_kit_eval_is_a_recording_with_its_own_gold(tmp_path: Path) -> None:
    """The later of two completions with one key counts; a problem without an integer for its gold is left out."""
    (tmp_path / "journal.jsonl").write_text(EVALUATION, encoding="utf-8")
    expected = Recording(
        name="a",
        gold=7,
        attempts=tuple(
            RecordedAttempt(answer=answer, work_s=3.5, num_tokens=12, num_calls=2, mean_entropy=0.5)
            for answer in (8, None)
        ),
    )
    assert read_recordings(tmp_path) == (expected,)
    assert read_recordings(tmp_path / "journal.jsonl") == (expected,)


def test_calls_and_entropies_are_read_where_a_csv_has_them(tmp_path: Path) -> None:
    path = tmp_path / "run.csv"
    path.write_text("problem_id,answer,gold,time_s,num_calls,mean_entropy\na,7,7,3,4,0.25\na,7,7,3,,\n", "utf-8")
    (recording,) = read_recordings(path)
    assert [(each.num_calls, each.mean_entropy) for each in recording.attempts] == [(4, 0.25), (0, None)]
