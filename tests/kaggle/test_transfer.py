"""Many files at once: their order, what ends all, and what is left of a file that did not get whole."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from kit.errors import InputError, StorageError
from kit.kaggle.transfer import StoppedError, Transfer, growing, partial_of, sha256_of, write_all


def run(transfer: Transfer, move: object, sizes: list[int], **options: object) -> list[int]:
    return transfer.run(move, sizes, size_bytes=lambda size: size, num_workers=2, **options)  # type: ignore[arg-type]


def test_results_come_in_the_order_of_the_items_and_the_largest_is_begun_first() -> None:
    begun: list[int] = []
    results = Transfer().run(
        lambda size: begun.append(size) or -size,  # type: ignore[func-returns-value]
        [1, 3, 2],
        size_bytes=lambda size: size,
        num_workers=1,
    )
    assert (results, begun) == ([-1, -3, -2], [3, 2, 1])


def test_a_fault_stops_the_others_at_their_next_chunk(tmp_path: Path) -> None:
    transfer, is_writing = Transfer(), threading.Event()
    seen: list[BaseException] = []

    def endless():  # type: ignore[no-untyped-def]
        while True:
            is_writing.set()
            yield b"x"
            transfer._stop.wait(0.001)

    def move(size: int) -> None:
        if size == 1:
            is_writing.wait(10)
            raise InputError("this one is broken")
        with (tmp_path / "file").open("wb", buffering=0) as file:
            try:
                transfer.append(endless(), file)
            except StoppedError as stopped:
                seen.append(stopped)
                raise

    with pytest.raises(InputError, match=r"this one is broken$"):
        run(transfer, move, [2, 1])
    assert len(seen) == 1
    assert transfer.num_bytes == (tmp_path / "file").stat().st_size


def test_faults_that_do_not_end_all_are_counted_and_the_gravest_is_raised() -> None:
    def move(size: int) -> None:
        if size == 3:
            raise StorageError("disk full")
        if size:
            raise InputError(f"{size} is broken")

    with pytest.raises(InputError, match=r"[12] is broken; and 1 more failed"):
        run(Transfer(), move, [2, 1, 0], ends_all=lambda fault: False)
    with pytest.raises(StorageError, match="disk full"):
        run(Transfer(), move, [3, 0], ends_all=lambda fault: isinstance(fault, StorageError))


def grow(path: Path, fault: Exception | None) -> None:
    with growing(path, 3, aligned=False) as file:
        write_all(file, b"abc")
        if fault is not None:
            raise fault


def test_a_file_gets_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with pytest.raises(InputError):
        grow(path, InputError("not what was expected"))
    assert not path.exists()
    assert partial_of(path).read_bytes() == b"abc"
    grow(path, None)
    assert sha256_of(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert not partial_of(path).exists()


def test_a_disk_that_refuses_is_named_by_the_files_own_name() -> None:
    with (
        Path("/dev/full").open("wb", buffering=0) as file,
        pytest.raises(StorageError, match=r"^/dev/full: cannot write .*free some disk"),
    ):
        write_all(file, b"x")
