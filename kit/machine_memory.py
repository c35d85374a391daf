"""How much memory the machine, or the container around us, could still give; read from the kernel's files."""

from __future__ import annotations

import re
from pathlib import Path

_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")


def memory_available_bytes(*, meminfo: Path = _MEMINFO, cgroup: Path = _CGROUP) -> int:
    """What processes could still be given, pages of files included, of the machine or of the container if it has less.

    Source: MemAvailable in proc(5); memory.max, memory.current and `file` of memory.stat in the kernel's cgroup-v2.
    """
    of_machine = _numbers(meminfo).get("MemAvailable", 0) * 1024
    try:
        limit = int((cgroup / "memory.max").read_text())
        used = int((cgroup / "memory.current").read_text())
    except (OSError, ValueError):  # no second version here, or "max"
        return of_machine
    return min(of_machine, limit - used + _numbers(cgroup / "memory.stat").get("file", 0))


def _numbers(path: Path) -> dict[str, int]:
    """The lines `name: 123` or `name 123` of a file of the kernel's."""
    try:
        text = path.read_text(encoding="ascii")
    except OSError:
        return {}
    return {name: int(number) for name, number in re.findall(r"^(\w+):? +(\d+)", text, re.MULTILINE)}
