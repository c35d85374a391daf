"""The NVIDIA driver and GPUs of this machine, asked from outside: no CUDA context is made in this process."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

VISIBLE_VARIABLE = "CUDA_VISIBLE_DEVICES"
_QUERY = ("nvidia-smi", "--query-gpu=name,memory.total,compute_cap,uuid", "--format=csv,noheader,nounits")
_QUERY_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Gpu:
    """memory_bytes: 0 where it is not told. capability: NVIDIA's compute capability, (9, 0) for an H100, or (0, 0).
    uuid: such as GPU-5ad2….
    """

    name: str
    memory_bytes: int
    capability: tuple[int, int]
    uuid: str = ""


UNTOLD_GPU = Gpu("a GPU of which nvidia-smi tells nothing", 0, (0, 0))


def driver_cuda(load: Callable[[str], Any] = ctypes.CDLL) -> tuple[int, int] | None:
    """The newest CUDA that the NVIDIA driver runs; None without a driver. Touches no GPU.

    load: opens a library by name. Source: cuDriverGetVersion, CUDA Driver API; 12080 is 12.8.
    """
    try:
        driver, version = load("libcuda.so.1"), ctypes.c_int(0)
        failed = driver.cuDriverGetVersion(ctypes.byref(version))
    except (OSError, AttributeError):
        return None
    return None if failed or not version.value else (version.value // 1000, version.value % 1000 // 10)


def listed_gpus() -> tuple[Gpu, ...]:
    """All GPUs that nvidia-smi lists, in its order; none without nvidia-smi."""
    try:
        done = subprocess.run(_QUERY, capture_output=True, text=True, check=False, timeout=_QUERY_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return parsed_gpus(done.stdout)


def parsed_gpus(text: str) -> tuple[Gpu, ...]:
    """What nvidia-smi answers: a line a GPU, `name, MiB, major.minor, uuid`; lines that are not such are left out."""
    gpus = []
    for line in text.splitlines():
        name, memory, capability, uuid = [*line.split(", "), "", "", "", ""][:4]
        major, _, minor = capability.partition(".")
        if memory.isdecimal() and major.isdecimal() and minor.isdecimal():
            gpus.append(Gpu(name, int(memory) << 20, (int(major), int(minor)), uuid))
    return tuple(gpus)


def chosen_gpus(gpus: Sequence[Gpu], told: str | None) -> tuple[Gpu, ...]:
    """Those that CUDA shows a program which is told `told`, in that order; None: all of them.

    An entry is a number, or the beginning of a UUID; the first that names none hides all after it. Parts of a GPU
    (MIG) are told by UUIDs of their own, which nvidia-smi lists elsewhere: each counts as a GPU of unknown memory.
    Source: CUDA C Programming Guide, "CUDA Environment Variables".
    """
    if told is None:
        return tuple(gpus)
    chosen: dict[str, Gpu] = {}
    for entry in map(str.strip, told.split(",")):
        gpu = _named(entry, gpus)
        if gpu is None or entry in chosen:
            break
        chosen[entry] = gpu
    return tuple(chosen.values())


def visible_gpus(
    environ: Mapping[str, str] = os.environ,
    *,
    listed: Callable[[], tuple[Gpu, ...]] = listed_gpus,
    driver: Callable[[], tuple[int, int] | None] = driver_cuda,
) -> tuple[Gpu, ...]:
    """The GPUs that a child of ours would see; none without a driver, one of unknown size if nvidia-smi tells none."""
    if driver() is None:
        return ()
    return chosen_gpus(listed() or (UNTOLD_GPU,), environ.get(VISIBLE_VARIABLE))


def _named(entry: str, gpus: Sequence[Gpu]) -> Gpu | None:
    if entry.isdecimal():
        return gpus[int(entry)] if int(entry) < len(gpus) else None
    if entry.startswith("MIG-"):
        return UNTOLD_GPU
    return next((gpu for gpu in gpus if entry.startswith("GPU-") and gpu.uuid.startswith(entry)), None)
