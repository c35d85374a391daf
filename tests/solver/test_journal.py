from __future__ import annotations

import errno
import itertools
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from kit.errors import StorageError
from kit.solver.journal import Journal, read_records

RUN = {"seed": 0, "when": (1, 2)}
SAMPLE = {"kind": "sample", "problem": "a:1", "number": 0, "text": "\ud800 ünï\n\x00"}


def test_what_was_appended_is_read_back_by_the_next_process(tmp_path: Path) -> None:
    path = tmp_path / "new" / "journal.jsonl"
    journal = Journal.open(path, run=RUN)
    journal.append(SAMPLE)
    journal.append({**SAMPLE, "problem": "b:1"})
    journal.close()
    with Journal.open(path, run=RUN) as again:
        assert list(again.past("sample", "a:1")) == [SAMPLE]
        assert list(again.past("solution", "a:1")) == []
    assert [record["kind"] for record in read_records(path)] == ["run", "sample", "sample"]


@pytest.mark.parametrize("kept", [1, 20, -1])
def test_a_line_torn_by_a_kill_is_skipped_and_the_next_one_is_whole(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal.open(path, run=RUN) as journal:
        journal.append(SAMPLE)
    whole = path.read_bytes()
    path.write_bytes(whole + whole.splitlines()[-1][:kept])
    with Journal.open(path, run=RUN) as again:
        again.append({**SAMPLE, "number": 1})
    assert [record["number"] for record in read_records(path) if record["kind"] == "sample"] == [0, 1]


def test_a_journal_of_another_run_is_kept_under_another_name(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    for seed in range(3):
        with Journal.open(path, run={"seed": seed}) as journal:
            journal.append({**SAMPLE, "number": seed})
    for name, seed in {"journal.jsonl": 2, "journal.jsonl.1": 0, "journal.jsonl.2": 1}.items():
        assert list(read_records(tmp_path / name))[1]["number"] == seed


def test_an_unwritable_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file"):
        Journal.open(tmp_path / "file" / "journal.jsonl", run=RUN)


def test_a_full_disk_is_reported_and_the_journal_goes_on_when_there_is_room_again(tmp_path: Path) -> None:
    """A file size limit stands in for the full disk: the same short write, then an error."""
    code = f"""
import resource, signal
from pathlib import Path
from kit.errors import StorageError
from kit.solver.journal import Journal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
journal = Journal.open(Path({str(tmp_path / "j.jsonl")!r}), run={{}})
journal.append({{"kind": "sample", "number": 0}})
resource.setrlimit(resource.RLIMIT_FSIZE, (200, resource.RLIM_INFINITY))
try:
    journal.append({{"kind": "sample", "number": 1, "text": "x" * 1000}})
except StorageError as error:
    print("refused:", error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
journal.append({{"kind": "sample", "number": 2}})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "refused:" in done.stdout
    assert "j.jsonl" in done.stdout
    numbers = [record["number"] for record in read_records(tmp_path / "j.jsonl") if record["kind"] == "sample"]
    assert numbers == [0, 2]


def test_nothing_that_append_returned_for_is_lost_by_sigkill(tmp_path: Path) -> None:
    code = f"""
from pathlib import Path
from kit.solver.journal import Journal
journal = Journal.open(Path({str(tmp_path / "j.jsonl")!r}), run={{}})
for number in range(10**9):
    journal.append({{"kind": "sample", "number": number}})
    print(number, flush=True)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    first = [process.stdout.readline() for _ in range(4)]
    process.send_signal(signal.SIGKILL)
    rest, _ = process.communicate()
    acknowledged = [int(line) for line in [*first, *rest.splitlines(keepends=True)] if line.endswith("\n")]
    numbers = [record["number"] for record in read_records(tmp_path / "j.jsonl") if record["kind"] == "sample"]
    assert len(acknowledged) > 3
    assert numbers[: len(acknowledged)] == acknowledged


def test_two_processes_never_write_one_journal(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "j.jsonl", run=RUN) as journal:
        with pytest.raises(StorageError, match=r"j\.jsonl: another process is using it"):
            Journal.open(tmp_path / "j.jsonl", run=RUN)
        journal.append(SAMPLE)
    with pytest.raises(StorageError, match="closed"):
        journal.append(SAMPLE)
    Journal.open(tmp_path / "j.jsonl", run=RUN).close()


def test_a_file_of_rubbish_is_set_aside_not_resumed(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b'\xff\xfe not json\n[1]\n{"no": "kind"}\n')
    with Journal.open(path, run=RUN) as journal:
        journal.append(SAMPLE)
    assert [record["kind"] for record in read_records(path)] == ["run", "sample"]
    assert path.with_name("journal.jsonl.1").read_bytes().startswith(b"\xff")


def test_a_journal_of_the_first_version_is_read_in_todays_words(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text('{"kind": "cut", "number": 1}\n{"kind": "sample", "finish": "cut", "text": "cut"}\n')
    assert list(read_records(path)) == [
        {"kind": "cancelled", "number": 1},
        {"kind": "sample", "finish": "aborted", "text": "cut"},
    ]


HOLDING = """
import sys
from pathlib import Path
from kit.solver.journal import Journal
journal = Journal.open(Path(sys.argv[1]), run={"seed": 0})
journal.append({"kind": "sample", "number": 7})
print("held", flush=True)
sys.stdin.read()
"""


def test_a_journal_that_another_run_is_writing_is_neither_renamed_nor_replaced(tmp_path: Path) -> None:
    """Regression: it was renamed before it was locked, and its run went on writing under the other name."""
    path = tmp_path / "journal.jsonl"
    command = [sys.executable, "-c", HOLDING, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout
        assert other.stdout.readline() == b"held\n"
        before = path.read_bytes()
        with pytest.raises(StorageError, match="another process is using it"):
            Journal.open(path, run={"seed": 1})
        assert [each.name for each in tmp_path.iterdir()] == ["journal.jsonl"]
        assert path.read_bytes() == before
        other.communicate()
    with Journal.open(path, run={"seed": 1}):
        assert sorted(each.name for each in tmp_path.iterdir()) == ["journal.jsonl", "journal.jsonl.1"]


RACING = """
import sys
from pathlib import Path
from kit.errors import StorageError
from kit.solver.journal import Journal
for turn in range(60):
    try:
        with Journal.open(Path(sys.argv[1]), run={"seed": sys.argv[2]}) as journal:
            journal.append({"kind": "sample", "seed": sys.argv[2], "turn": turn})
            print(turn, flush=True)
    except StorageError:
        pass
"""


def test_runs_that_open_one_name_at_once_never_write_into_each_others_journal(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    runs = [
        subprocess.Popen([sys.executable, "-c", RACING, str(path), str(seed)], stdout=subprocess.PIPE, text=True)
        for seed in range(3)
    ]
    num_written = sum(len(run.communicate()[0].split()) for run in runs)
    num_found = 0
    for file in tmp_path.iterdir():
        head, *samples = read_records(file)
        assert {sample["seed"] for sample in samples} <= {head["seed"]}
        num_found += len(samples)
    assert num_found == num_written > 0


def test_an_empty_file_is_a_journal_that_was_killed_at_its_birth(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.touch()
    with Journal.open(path, run=RUN) as journal:
        journal.append(SAMPLE)
    assert [record["kind"] for record in read_records(path)] == ["run", "sample"]
    assert [each.name for each in tmp_path.iterdir()] == ["journal.jsonl"]


@pytest.mark.parametrize("nest", ["[" * 100_000, '{"a":' * 100_000, "[" * 400 + "]" * 400])
def test_a_line_nested_without_end_is_skipped_as_a_torn_one_is(tmp_path: Path, nest: str) -> None:
    """Regression: RecursionError, and the whole journal could not be resumed."""
    path = tmp_path / "journal.jsonl"
    with Journal.open(path, run=RUN) as journal:
        journal.append(SAMPLE)
    with path.open("a") as file:
        file.write(f'{{"kind": "sample", "number": 9, "text": {nest}}}\n')
    with Journal.open(path, run=RUN) as journal:
        assert [record["number"] for record in journal.past("sample")] == [0]


@pytest.mark.parametrize("num_good", [-1, 0, 1, 3])  # -1: not even the head
def test_a_disk_that_hangs_is_waited_for_once_and_gets_every_line_in_its_order(tmp_path: Path, num_good: int) -> None:
    release, num_synced = threading.Event(), itertools.count()

    def sync(descriptor: int) -> None:
        if next(num_synced) > num_good:
            release.wait(600)

    path = tmp_path / "journal.jsonl"
    journal = Journal.open(path, run=RUN, patience_s=1, sync=sync)
    for number in range(num_good):
        journal.append({**SAMPLE, "number": number})
    for number in range(max(0, num_good), 6):
        with pytest.raises(StorageError, match=r"did not answer within 1 s; it is written once the disk does"):
            journal.append({**SAMPLE, "number": number})
    journal.close()
    with pytest.raises(StorageError, match="is closed"):
        journal.append(SAMPLE)
    assert not journal.is_on_disk
    release.set()
    while not journal.is_on_disk:
        journal.close()
    assert [record["number"] for record in read_records(path) if record["kind"] == "sample"] == list(range(6))


def test_a_full_disk_is_told_by_a_journal_with_patience_too(tmp_path: Path) -> None:
    def sync(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(StorageError, match="free some disk"):
        Journal.open(tmp_path / "journal.jsonl", run=RUN, patience_s=60, sync=sync)
