from __future__ import annotations

import signal
import subprocess
import sys
import time
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
    time.sleep(0.6)
    process.send_signal(signal.SIGKILL)
    printed, _ = process.communicate()
    acknowledged = [int(line) for line in printed.splitlines(keepends=True) if line.endswith("\n")]
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
