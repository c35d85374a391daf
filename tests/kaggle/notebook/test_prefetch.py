from __future__ import annotations

import os
import threading
import time
from functools import partial
from pathlib import Path

import pytest
import trio

from kit.errors import InputError
from kit.kaggle.notebook.prefetch import Ended, MiB, prefetch, read_ahead
from kit.machine_memory import memory_available_bytes
from kit.recipes.attempts import PrefetchConfig

SMALL = PrefetchConfig(num_threads=4, read_bytes=MiB, spare_bytes=0)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, ...]:
    paths = tuple(tmp_path / f"shard-{number}.safetensors" for number in range(3))
    for number, path in enumerate(paths):
        path.write_bytes(os.urandom(number * MiB + 1000))
    return paths


@pytest.mark.parametrize("num_threads", [1, 4, 64])
def test_every_byte_of_every_file_is_read_once(files: tuple[Path, ...], num_threads: int) -> None:
    config = PrefetchConfig(num_threads=num_threads, read_bytes=MiB, spare_bytes=0)
    done = prefetch(files, config)
    assert (done.num_bytes, done.ended) == (3 * MiB + 3000, Ended.WHOLE)
    assert "everything was read" in str(done)


def test_it_stops_while_memory_is_left_for_others_counting_what_it_read_as_taken(files: tuple[Path, ...]) -> None:
    """The system calls pages of files available, so without counting its own it would never stop."""
    config = PrefetchConfig(num_threads=1, read_bytes=MiB, spare_bytes=10 * MiB)
    done = prefetch(files, config, available_bytes=lambda: 11 * MiB)
    assert done.ended is Ended.NO_ROOM
    assert MiB < done.num_bytes < 3 * MiB


def test_it_stops_when_told_to(files: tuple[Path, ...]) -> None:
    asked = iter([False, False, True])
    done = prefetch(files, PrefetchConfig(num_threads=1, read_bytes=MiB, spare_bytes=0), is_stopped=lambda: next(asked))
    assert (done.ended, done.num_bytes) == (Ended.STOPPED, 1000 + MiB)


def test_files_that_are_not_there_are_left_to_the_loader(files: tuple[Path, ...], tmp_path: Path) -> None:
    files[1].unlink()
    assert prefetch((tmp_path / "none", *files), SMALL).num_bytes == 2 * MiB + 2000
    assert prefetch((), SMALL).num_bytes == 0


def test_what_is_available_is_the_machines_or_the_containers_whichever_is_less(tmp_path: Path) -> None:
    meminfo, cgroup = tmp_path / "meminfo", tmp_path / "cgroup"
    meminfo.write_text("MemTotal:       9000 kB\nMemAvailable:    5000 kB\n")
    assert memory_available_bytes(meminfo=meminfo, cgroup=cgroup) == 5000 * 1024
    cgroup.mkdir()
    (cgroup / "memory.current").write_text("3000000\n")
    (cgroup / "memory.stat").write_text("anon 2500000\nfile 500000\n")
    (cgroup / "memory.max").write_text("max\n")
    assert memory_available_bytes(meminfo=meminfo, cgroup=cgroup) == 5000 * 1024
    (cgroup / "memory.max").write_text("4000000\n")
    assert memory_available_bytes(meminfo=meminfo, cgroup=cgroup) == 1_500_000


def test_cancelled_its_threads_end_with_their_next_read(files: tuple[Path, ...]) -> None:
    """A thread cannot be cancelled, and one that read on would take the disk from the loader for minutes."""
    has_begun = threading.Event()

    def slowly() -> int:
        has_begun.set()
        time.sleep(0.05)  # asked under a lock before every read
        return 1 << 60

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            config = PrefetchConfig(num_threads=2, read_bytes=MiB, spare_bytes=0)
            nursery.start_soon(partial(read_ahead, files * 1000, config, available_bytes=slowly))
            await trio.to_thread.run_sync(has_begun.wait, 600)
            nursery.cancel_scope.cancel()

    trio.run(main)
    deadline_s = time.monotonic() + 600
    while any(thread.name == "prefetch" for thread in threading.enumerate()):
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("field", "value"), [("num_threads", 65), ("num_threads", -1), ("read_bytes", 1000), ("spare_bytes", -1)]
)
def test_settings_out_of_range_are_refused(field: str, value: int) -> None:
    with pytest.raises(InputError, match=f"{field} must be"):
        PrefetchConfig(**{field: value})
