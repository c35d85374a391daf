"""How fast is a dataset built and verified, beside `sha256sum` over the same files; and with how much memory?

    python benchmarks/bundle_speed.py [--files 6] [--bytes 536870912] [--repeats 3] [--large 20000000000] [--work DIR]

Every line reads the same files with two threads or processes, from a warm page cache; `write` writes a copy, too, past
the cache, so that `verify` reads that copy from the disk.
"killed" is a build that SIGKILL ends after half of its bytes; the next line is the same command again. The large file
is sparse: it is read as zeros, and written in full. Peak memory is VmHWM of a process of its own.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from kit.kaggle.dataset.contents import source_of
from kit.kaggle.dataset.integrity import check_dataset
from kit.kaggle.dataset.manifest import Manifest, load_manifest
from kit.kaggle.dataset.packing import Piece, pack
from kit.kaggle.dataset.writing import Record, reuse, write

NUM_WORKERS = 2

KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {here!r})
from bundle_speed import NUM_WORKERS, pieces_of
from kit.kaggle.dataset.writing import Record, reuse, write
folder, files = Path(sys.argv[1]), [Path(each) for each in sys.argv[3:]]
left = int(sys.argv[2])
def on_bytes(num_bytes):
    global left
    left -= num_bytes
    if left <= 0:
        os.kill(os.getpid(), signal.SIGKILL)
record = Record(folder.parent / "record.json")
pieces = pieces_of(files)
reuse(pieces, folder, folder / "none", record)
write(pieces, folder, record, on_bytes=on_bytes, num_workers=NUM_WORKERS)
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""


def pieces_of(files: Sequence[Path]) -> list[Piece]:
    return pack([source_of(f"model/{file.name}", file) for file in files])


def timed(action: Callable[[], object]) -> float:
    begun_s = time.perf_counter()
    action()
    return time.perf_counter() - begun_s


def two_processes(command: Sequence[str], files: Sequence[Path]) -> None:
    """Each of two processes takes every other file."""
    halves = (files[0::2], files[1::2])
    running = [subprocess.Popen([*command, *map(str, half)], stdout=subprocess.DEVNULL) for half in halves]
    assert [process.wait() for process in running] == [0, 0]


def build(files: Sequence[Path], work: Path) -> Manifest:
    """Write whatever is missing, as `kit build` does."""
    folder, record = work / "dataset", Record(work / "record.json")
    pieces = pieces_of(files)
    entries = reuse(pieces, folder, work / "none", record)
    missing = [piece for piece in pieces if piece.file not in entries]
    entries |= write(missing, folder, record, on_bytes=lambda num_bytes: None, num_workers=NUM_WORKERS)
    manifest = Manifest(kit_version="0", commit="benchmark", entries=tuple(entries[piece.file] for piece in pieces))
    manifest.save(folder)
    return manifest


def in_child(work: Path, kill_after_bytes: int, files: Sequence[Path]) -> str:
    work.mkdir(exist_ok=True)
    code = KILLED.format(here=str(Path(__file__).parent))
    command = [sys.executable, "-c", code, str(work / "dataset"), str(kill_after_bytes), *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def emptied(work: Path) -> Path:
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    return work


def compare(files: Sequence[Path], scratch: Path, repeats: int) -> None:
    total_bytes = sum(file.stat().st_size for file in files)
    work = scratch / "work"
    runs: dict[str, Callable[[], object]] = {
        "sha256sum, two processes": lambda: two_processes(["sha256sum"], files),
        "openssl dgst -sha256, two processes": lambda: two_processes(["openssl", "dgst", "-sha256"], files),
        "kit: hash and write": lambda: build(files, work),
        "kit: the same again, nothing changed": lambda: build(files, work),
        "kit: verify what was written": lambda: verified(work),
    }
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        emptied(work)
        for name, run in runs.items():
            seconds[name].append(timed(run))
    emptied(work)
    in_child(work, total_bytes // 2, files)
    seconds["kit: again after SIGKILL at half"] = [timed(lambda: build(files, work))]
    base_s = statistics.median(seconds["sha256sum, two processes"])
    print(f"{len(files)} files, {total_bytes:,} bytes, {repeats} repeats, load average {os.getloadavg()[0]:.1f}\n")
    print(f"{'':<38}{'median s':>9}{'GB/s':>8}{'of sha256sum':>14}")
    for name, each in seconds.items():
        median_s = statistics.median(each)
        print(f"{name:<38}{median_s:>9.2f}{total_bytes / median_s / 1e9:>8.2f}{base_s / median_s:>13.0%}")


def verified(work: Path) -> None:
    assert list(check_dataset(work / "dataset", load_manifest(work / "dataset"), is_build=False)) == []


def memory(num_bytes: int, scratch: Path) -> None:
    for size in (1 << 20, num_bytes):
        large = scratch / "large"
        with large.open("wb") as file:
            file.truncate(size)
        begun_s = time.perf_counter()
        peak_kib = in_child(emptied(scratch / "work"), size + 1, [large])
        seconds = time.perf_counter() - begun_s
        print(f"one file of {size:>14,} bytes: peak memory {int(peak_kib) / 1024:.0f} MiB, {seconds:.1f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=6)
    parser.add_argument("--bytes", type=int, default=1 << 29, help="of each")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--large", type=int, default=20 * 10**9, help="bytes of the sparse file; 0 for none")
    parser.add_argument("--work", type=Path, help="on the disk to measure (default: the temporary folder)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.work) as folder:
        scratch = Path(folder)
        files = []
        for number in range(args.files):
            files.append(scratch / f"weights-{number}.safetensors")
            with files[-1].open("wb") as file:
                for _ in range(args.bytes >> 20):
                    file.write(os.urandom(1 << 20))
        compare(files, scratch, args.repeats)
        if args.large:
            print()
            memory(args.large, scratch)


if __name__ == "__main__":
    main()
