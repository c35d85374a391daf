"""Whether a machine is fit for a dataset: memory, disk, GPU, Python, C library, driver, ports.

In: what the machine has (`Machine.here` asks it) and what the dataset needs. Out: findings. Deciding is pure; only
`here` looks at the machine, and it starts nothing on the GPU.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from kit.cuda import VISIBLE_VARIABLE, Gpu, chosen_gpus, listed_gpus
from kit.errors import KitError
from kit.kaggle import facts
from kit.kaggle.evaluation_double.listening import speaks_http2
from kit.kaggle.findings import Check, Finding, error, warning
from kit.kaggle.transfer import SPARE_BYTES, free_bytes
from kit.kaggle.wheels.install import Host, check_host
from kit.kaggle.wheels.target import Target
from kit.machine_memory import memory_available_bytes

_MIN_CAPABILITY = (7, 5)  # Turing: CUDA 13 builds for nothing older (NVIDIA's CUDA 13.0 release notes, 2.4)
_WEIGHTS_SHARE = 0.9  # of a GPU's memory; vLLM's own default for all it takes (gpu_memory_utilization)
_SMALL_BYTES = 4 << 30  # weights that a CPU runs in tolerable time


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What this machine has. free_memory_bytes: that a process may take, page cache included. free_disk_bytes: of
    scratch space. busy_ports: of kaggle_evaluation's, those at which a server already listens.
    """

    host: Host
    free_memory_bytes: int
    free_disk_bytes: int
    gpus: tuple[Gpu, ...]
    busy_ports: tuple[int, ...]

    @classmethod
    def here(cls, scratch: Path) -> Machine:
        """The machine that runs this."""
        return cls(
            host=Host.here(),
            free_memory_bytes=memory_available_bytes(),
            free_disk_bytes=free_bytes(scratch),
            gpus=chosen_gpus(listed_gpus(), os.environ.get(VISIBLE_VARIABLE)),
            busy_ports=tuple(port for port in facts.EVALUATION_PORTS if speaks_http2(port)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a dataset needs. unpacked_bytes: of archives and of installed wheels, in scratch space. target: of its
    wheels, None without.
    """

    weights_bytes: int
    unpacked_bytes: int
    target: Target | None


def needs(restored: Path, *, packed_bytes: int, target: Target | None) -> Needs:
    """What the dataset needs that is restored here; a wheel's size when installed stands in its own directory."""
    wheels = restored.glob("wheels/*.whl")
    return Needs(
        weights_bytes=sum(path.stat().st_size for path in restored.glob("*/*.safetensors")),
        unpacked_bytes=packed_bytes + sum(map(_installed_bytes, wheels)),
        target=target,
    )


def check_machine(machine: Machine, needed: Needs) -> tuple[Check, ...]:
    """One check each for memory, disk, GPU, Python and ports."""
    memory, disk = _size(machine.free_memory_bytes), _size(machine.free_disk_bytes)
    gpus = ", ".join(f"{gpu.name} ({gpu.memory_bytes:,} bytes)" for gpu in machine.gpus) or "none"
    weights = f"; weights {needed.weights_bytes:,} bytes" if needed.weights_bytes else ""
    python = ".".join(map(str, machine.host.python))
    libc = "unknown" if machine.host.glibc is None else ".".join(map(str, machine.host.glibc))
    ports = ", ".join(map(str, machine.busy_ports)) or "none"
    return (
        _check("memory", f"{memory} free, weights {_size(needed.weights_bytes)}", _check_memory(machine, needed)),
        _check("disk", f"{disk} free, to unpack {_size(needed.unpacked_bytes)}", _check_disk(machine, needed)),
        _check("GPU", f"{gpus}{weights}", _check_gpu(machine.gpus, needed)),
        _check("Python", f"{python}, glibc {libc}", _check_python(machine.host, needed.target)),
        _check("ports", f"in use: {ports}", _check_ports(machine.busy_ports)),
    )


def _check(name: str, detail: str, findings: Iterator[Finding]) -> Check:
    return Check(name=name, detail=detail, findings=tuple(findings))


def _check_memory(machine: Machine, needed: Needs) -> Iterator[Finding]:
    if needed.weights_bytes > machine.free_memory_bytes:
        problem = f"{_size(needed.weights_bytes)} of weights, {_size(machine.free_memory_bytes)} are free"
        if machine.gpus:
            yield warning("memory", f"{problem}: they are read from the disk twice", "stop what else uses memory")
        else:
            yield error("memory", problem, "choose a machine with more memory, or a smaller model")


def _check_disk(machine: Machine, needed: Needs) -> Iterator[Finding]:
    if needed.unpacked_bytes and needed.unpacked_bytes + SPARE_BYTES > machine.free_disk_bytes:
        wanted = f"{_size(needed.unpacked_bytes)} to unpack and {_size(SPARE_BYTES)} to spare"
        problem = f"{wanted}, {_size(machine.free_disk_bytes)} are free"
        yield error("disk", problem, "free some, or choose a larger scratch space with --scratch")


def _check_gpu(gpus: Sequence[Gpu], needed: Needs) -> Iterator[Finding]:
    fix = "choose another accelerator in the notebook's settings, and save them"
    needs_one = needed.target is not None and needed.target.cuda is not None
    if not gpus:
        if needs_one:
            yield error("GPU", "none, and the wheels are for CUDA", fix)
        elif needed.weights_bytes > _SMALL_BYTES:
            yield warning("GPU", f"none: {_size(needed.weights_bytes)} of weights would run on the CPU", fix)
        return
    oldest = min(gpus, key=lambda gpu: gpu.capability)
    if needs_one and oldest.capability < _MIN_CAPABILITY:
        capability = ".".join(map(str, oldest.capability))
        yield error("GPU", f"{oldest.name} has compute capability {capability}, 7.5 is the least", fix)
    total_bytes = sum(gpu.memory_bytes for gpu in gpus)
    if needed.weights_bytes > _WEIGHTS_SHARE * total_bytes:
        problem = f"{_size(needed.weights_bytes)} of weights do not fit into {_size(total_bytes)}"
        yield error("GPU", problem, f"choose a smaller or quantised model, or {fix}")


def _check_python(host: Host, target: Target | None) -> Iterator[Finding]:
    if target is None:
        return
    try:
        check_host(target, host)
    except KitError as fault:
        yield Finding.of(fault, file=f"target {target.name}", fix="build the dataset for this machine")


def _check_ports(busy: Sequence[int]) -> Iterator[Finding]:
    if busy:
        problem = f"a server listens at {', '.join(map(str, busy))}, and would answer in place of the notebook's"
        yield error("ports", problem, "restart the kernel, which ends the server that an earlier run left")


def _installed_bytes(wheel: Path) -> int:
    try:
        with ZipFile(wheel) as archive:
            return sum(info.file_size for info in archive.infolist())
    except BadZipFile:
        return 0  # a damaged wheel is told elsewhere


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.1f} GB"
