"""Fetching: whatever the connection, the disk or the user does, the folder ends with the locked bytes or a reason."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kit.errors import InputError, MissingError, StorageError
from kit.kaggle.transfer import partial_of, sha256_of
from kit.kaggle.wheels.fetch import Fetched, ensure, fetch
from kit.kaggle.wheels.index import Index
from kit.kaggle.wheels.lockfile import Lock, Wheel, requirements_path
from kit.kaggle.wheels.target import Target
from kit.lock import held
from tests.kaggle.wheels.simple_index import Fault, SimpleIndex, make_wheel, served

TARGET = Target(name="toy", python="3.11", glibc="2.28", cuda=None, requirements=("big", "small"))
BIG_BYTES = 3 << 20


@pytest.fixture
def index(tmp_path: Path) -> Iterator[SimpleIndex]:
    with served(SimpleIndex(tmp_path / "index")) as running:
        yield running


@pytest.fixture
def lock(index: SimpleIndex) -> Lock:
    big = make_wheel(index.folder, "big", payload=os.urandom(BIG_BYTES))
    return Lock(TARGET, (big, make_wheel(index.folder, "small")))


@pytest.fixture
def into(tmp_path: Path) -> Path:
    return tmp_path / "wheels"


def client(index: SimpleIndex, num_attempts: int = 3) -> Index:
    return Index(url=index.url, pauses_s=(0.0,) * (num_attempts - 1))


def assert_whole(lock: Lock, into: Path) -> None:
    export = requirements_path(into, lock.target.name)
    assert {path.name for path in into.iterdir()} == {".lock", export.name, *(wheel.file for wheel in lock.wheels)}
    assert export.read_text() == lock.requirements()
    for wheel in lock.wheels:
        assert sha256_of(into / wheel.file) == wheel.sha256


def begin_with(lock: Lock, into: Path, num_bytes: int, source: Path) -> Path:
    """A part as an interrupted fetch leaves it."""
    into.mkdir()
    part = partial_of(into / lock.wheels[0].file)
    part.write_bytes((source / lock.wheels[0].file).read_bytes()[:num_bytes])
    return part


def test_an_empty_folder_gets_all_and_the_next_fetch_asks_for_nothing(
    index: SimpleIndex, lock: Lock, into: Path
) -> None:
    told: list[int] = []
    assert fetch(lock, into, client(index), on_bytes=told.append) == Fetched(0, 2, lock.size_bytes)
    assert_whole(lock, into)
    assert sum(told) == lock.size_bytes
    index.gets.clear()
    told.clear()
    assert fetch(lock, into, client(index), on_bytes=told.append) == Fetched(2, 0, 0)
    assert (index.gets, sum(told)) == ([], lock.size_bytes)


def test_a_file_cut_again_and_again_goes_on_from_where_it_was_cut(index: SimpleIndex, lock: Lock, into: Path) -> None:
    big = lock.wheels[0]
    index.faults[big.file] = deque([Fault(cut=500_000)] * 4)  # more cuts than attempts, but each brings bytes
    told: list[int] = []
    done = fetch(lock, into, client(index, num_attempts=2), on_bytes=told.append)
    assert_whole(lock, into)
    assert index.received(big.file) == [0, 500_000, 1_000_000, 1_500_000, 2_000_000]
    assert done.num_bytes == sum(told) == lock.size_bytes


def test_a_busy_server_is_asked_again(index: SimpleIndex, lock: Lock, into: Path) -> None:
    index.faults[lock.wheels[0].file] = deque([Fault(status=503), Fault(status=429)])
    fetch(lock, into, client(index, num_attempts=3))
    assert_whole(lock, into)


def test_a_server_that_stays_busy_is_named_and_the_other_files_arrive(
    index: SimpleIndex, lock: Lock, into: Path
) -> None:
    big, small = lock.wheels
    index.faults[big.file] = deque([Fault(status=503)] * 3)
    with pytest.raises(MissingError, match=r"big-1\.0.*HTTP status 503.*the same command goes on"):
        fetch(lock, into, client(index, num_attempts=3))
    assert sha256_of(into / small.file) == small.sha256
    assert len(index.received(big.file)) == 3


@pytest.mark.parametrize("fault", ["ignores_ranges", "mistakes_ranges"])
def test_a_server_without_ranges_sends_it_whole(index: SimpleIndex, lock: Lock, into: Path, fault: str) -> None:
    begin_with(lock, into, 1_000_000, index.folder)
    setattr(index, fault, True)
    told: list[int] = []
    fetch(lock, into, client(index), on_bytes=told.append)
    assert_whole(lock, into)
    assert sum(told) == lock.size_bytes


def test_a_part_that_the_server_will_not_continue_is_fetched_anew(index: SimpleIndex, lock: Lock, into: Path) -> None:
    begin_with(lock, into, 1_000_000, index.folder)
    index.faults[lock.wheels[0].file] = deque([Fault(status=416)])
    fetch(lock, into, client(index))
    assert_whole(lock, into)
    assert index.received(lock.wheels[0].file) == [1_000_000, 0]


def test_a_damaged_part_is_thrown_away_once_and_fetched_anew(index: SimpleIndex, lock: Lock, into: Path) -> None:
    part = begin_with(lock, into, 1_000_000, index.folder)
    part.write_bytes(b"x" * 1_000_000)
    fetch(lock, into, client(index))
    assert_whole(lock, into)
    assert index.received(lock.wheels[0].file) == [1_000_000, 0]


@pytest.mark.parametrize("num_bytes", [0, BIG_BYTES * 2])
def test_a_part_of_any_length_is_no_trap(index: SimpleIndex, lock: Lock, into: Path, num_bytes: int) -> None:
    begin_with(lock, into, 0, index.folder).write_bytes(b"x" * num_bytes)
    fetch(lock, into, client(index))
    assert_whole(lock, into)


def test_a_part_with_all_its_bytes_costs_no_request(index: SimpleIndex, lock: Lock, into: Path) -> None:
    begin_with(lock, into, lock.wheels[0].size_bytes, index.folder)
    fetch(lock, into, client(index))
    assert_whole(lock, into)
    assert index.received(lock.wheels[0].file) == []


@pytest.mark.parametrize("damage", ["flipped", "shorter", "gone"])
def test_a_damaged_file_is_fetched_anew_and_no_other(index: SimpleIndex, lock: Lock, into: Path, damage: str) -> None:
    fetch(lock, into, client(index))
    path = into / lock.wheels[1].file
    content = path.read_bytes()
    path.write_bytes(content[:-1] + (b"" if damage == "shorter" else bytes([content[-1] ^ 1])))
    if damage == "gone":
        path.unlink()
    index.gets.clear()
    assert fetch(lock, into, client(index)) == Fetched(1, 1, lock.wheels[1].size_bytes)
    assert_whole(lock, into)
    assert index.gets == [(lock.wheels[1].file, 0)]


def test_other_bytes_of_the_same_length_are_refused_and_not_kept(index: SimpleIndex, lock: Lock, into: Path) -> None:
    big = lock.wheels[0]
    index.replaced[big.file] = b"x" * big.size_bytes
    with pytest.raises(InputError, match=rf"big-1\.0.*SHA-256.*the lock says {big.sha256}.*kit wheels lock"):
        fetch(lock, into, client(index))
    assert not list(into.glob("big*"))


def test_a_file_that_the_index_itself_says_is_another_is_not_downloaded(
    index: SimpleIndex, lock: Lock, into: Path
) -> None:
    big = lock.wheels[0]
    make_wheel(index.folder, "big", payload=b"replaced since")
    with pytest.raises(InputError, match=r"big-1\.0.*another file of this name"):
        fetch(lock, into, client(index))
    assert index.received(big.file) == []


def test_a_file_that_is_shorter_on_the_server_ends_with_a_reason(index: SimpleIndex, lock: Lock, into: Path) -> None:
    big = lock.wheels[0]
    index.replaced[big.file] = (index.folder / big.file).read_bytes()[:1_000_000]
    with pytest.raises(MissingError, match=r"big-1\.0"):
        fetch(lock, into, client(index))
    assert not (into / big.file).exists()


def test_a_file_that_is_longer_on_the_server_is_refused(index: SimpleIndex, lock: Lock, into: Path) -> None:
    big = lock.wheels[0]
    index.replaced[big.file] = (index.folder / big.file).read_bytes() + b"x"
    with pytest.raises(InputError, match=rf"big-1\.0.*more than {big.size_bytes} bytes"):
        fetch(lock, into, client(index))


def test_files_that_the_index_has_no_more_are_named_and_counted(index: SimpleIndex, lock: Lock, into: Path) -> None:
    for wheel in lock.wheels:
        (index.folder / wheel.file).unlink()
    make_wheel(index.folder, "big", "2.0")
    with pytest.raises(MissingError, match=r"and 1 more failed"):
        fetch(lock, into, client(index))


def test_an_index_that_is_not_there_is_told_without_its_address(lock: Lock, into: Path) -> None:
    nowhere = Index(url="http://someone:secret@127.0.0.1:9/simple", pauses_s=())
    with pytest.raises(MissingError, match="check the network and pip's index") as caught:
        fetch(lock, into, nowhere)
    assert "secret" not in f"{caught.value}{nowhere!r}"


def test_files_that_the_lock_does_not_name_are_left_alone(index: SimpleIndex, lock: Lock, into: Path) -> None:
    into.mkdir()
    (into / "mine.txt").write_text("hi")
    fetch(lock, into, client(index))
    assert (into / "mine.txt").read_text() == "hi"


def test_a_second_fetch_into_the_same_folder_is_refused(index: SimpleIndex, lock: Lock, into: Path) -> None:
    with held(into), pytest.raises(StorageError, match="another process is using it"):
        fetch(lock, into, client(index))


def test_too_small_a_disk_is_told_before_anything_is_asked_for(index: SimpleIndex, lock: Lock, into: Path) -> None:
    huge = Wheel(name="huge", version="1.0", file="huge-1.0-py3-none-any.whl", size_bytes=1 << 60, sha256="0" * 64)
    with pytest.raises(StorageError, match=r"bytes to fetch and [\d,]+ to spare, .* are free; free some disk"):
        fetch(Lock(TARGET, (huge, *lock.wheels)), into, client(index))
    assert index.headers == []


# --- ended from outside: the fetch runs in a process of its own ---

CHILD = """
import resource, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from kit.errors import KitError
from kit.kaggle.wheels.fetch import fetch
from kit.kaggle.wheels.index import Index
from kit.kaggle.wheels.lockfile import load_lock
url, lock, into, limit_bytes = sys.argv[1:]
if int(limit_bytes):
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit_bytes), resource.RLIM_INFINITY))
try:
    fetch(load_lock(Path(lock)), Path(into), Index(url=url), num_parallel=2)
except KitError as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""


def in_a_process(index: SimpleIndex, lock: Lock, into: Path, *, limit_bytes: int = 0) -> subprocess.Popen[str]:
    path = into.with_name("pylock.toy.toml")
    lock.save(path)
    command = [sys.executable, "-c", CHILD, index.url, str(path), str(into), str(limit_bytes)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_fetch_goes_on_and_asks_for_no_verified_file_again(
    index: SimpleIndex, lock: Lock, into: Path, ending: signal.Signals
) -> None:
    big, small = lock.wheels
    index.pause_s = 0.1  # 16 KiB at a time: some twenty seconds for the big one
    part = partial_of(into / big.file)
    with in_a_process(index, lock, into) as child:
        wait_until(lambda: part.exists() and part.stat().st_size > 200_000 and (into / small.file).exists())
        child.send_signal(ending)
        child.wait(timeout=600)
    kept = part.stat().st_size
    assert 200_000 < kept < big.size_bytes
    index.pause_s = 0.0
    index.gets.clear()
    assert fetch(lock, into, client(index)) == Fetched(1, 1, big.size_bytes - kept)
    assert_whole(lock, into)
    assert index.gets == [(big.file, kept)]


@pytest.mark.slow
def test_a_disk_that_fills_up_is_told_and_what_was_written_is_used(index: SimpleIndex, lock: Lock, into: Path) -> None:
    """The limit on a file's size stands for the full disk: both fail the write after a part of it was taken."""
    big = lock.wheels[0]
    with in_a_process(index, lock, into, limit_bytes=1_000_001) as child:
        _, told = child.communicate(timeout=600)
    assert child.returncode == 1
    assert "StorageError" in told
    assert "cannot write" in told
    assert "free some disk" in told
    assert (partial_of(into / big.file)).stat().st_size == 1_000_001
    index.gets.clear()
    fetch(lock, into, client(index))
    assert_whole(lock, into)
    assert (big.file, 1_000_001) in index.gets


def wait_until(holds: object, deadline_s: float = 600.0) -> None:
    assert callable(holds)
    give_up = time.monotonic() + deadline_s
    while not holds():
        assert time.monotonic() < give_up, "never came true"
        time.sleep(0.01)


def test_a_small_set_is_seen_to_by_many_at_once_and_nobody_is_asked_when_it_is_there(
    index: SimpleIndex, lock: Lock, into: Path
) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: ensure(lock, into, lambda: client(index)), range(4)))
    assert {path.name for path in into.iterdir()} == {"requirements-toy.txt", *(wheel.file for wheel in lock.wheels)}
    assert (into / "requirements-toy.txt").read_text() == lock.requirements()
    index.gets.clear()

    def never() -> Index:
        raise AssertionError("everything is there")

    ensure(lock, into, never)
    (into / lock.wheels[1].file).write_bytes(b"damaged")
    ensure(lock, into, lambda: client(index))
    assert sha256_of(into / lock.wheels[1].file) == lock.wheels[1].sha256
