"""What may be set about a sandbox: its limits, what is loaded in advance, and which layers are tried.

In: numbers. Out: a checked `SandboxConfig`, which also travels to the far side as JSON. No I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from kit.errors import check_fields
from kit.sandbox.confinement import Layer, to_layers

GiB = 1 << 30
MiB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxConfig:
    """Limits of one sandbox, and how many wait ready.

    memory_bytes: address space of a process; more is a MemoryError. total_memory_bytes: what all sandboxes may hold
    together, looked at some times a second; the largest is ended when they hold more. None is half of the machine's
    memory. Honest programs stay far below both: a sieve to 10**8 holds 0.1 GiB, a list of 10**7 integers 0.4, an array
    of 10**8 numbers 0.75. cpu_s: processor seconds of a process over
    its whole life, which bounds what a thread left behind can burn. output_bytes: of one run, half for the head
    and half for the tail. max_processes: the Python itself included, and threads beyond each first; 1 refuses every
    fork. max_threads: beyond the first, where no process may be started. scratch_bytes: of its private /tmp. grace_s:
    how long before the end of its time a program is interrupted, so that it can end with its variables kept. num_spare:
    forked and waiting. hidden: folders kept out of sight even where they lie inside Python's own. layers: those to try;
    a machine may grant fewer. python: the interpreter to run, 3.11 or later; None is the kit's own.
    Raises: InputError for a value out of range.
    """

    memory_bytes: int = 4 * GiB
    total_memory_bytes: int | None = None
    cpu_s: int = 600
    output_bytes: int = 8192
    max_open_files: int = 64
    max_processes: int = 1
    max_threads: int = 8
    scratch_bytes: int = 64 * MiB
    grace_s: float = 0.3
    num_spare: int = 2
    preload: tuple[str, ...] = ("sympy", "numpy", "networkx")
    hidden: tuple[Path, ...] = ()
    layers: frozenset[Layer] = frozenset(Layer)
    python: Path | None = None

    def __post_init__(self) -> None:
        checks = (
            ("memory_bytes", GiB <= self.memory_bytes <= 1024 * GiB, "from 1 GiB to 1 TiB"),
            ("total_memory_bytes", (self.total_memory_bytes or GiB) >= GiB, "1 GiB or more, or none"),
            ("cpu_s", 1 <= self.cpu_s <= 86_400, "from 1 to 86400"),
            ("output_bytes", 256 <= self.output_bytes <= MiB, "from 256 to 1 MiB"),
            ("max_open_files", 16 <= self.max_open_files <= 1024, "from 16 to 1024"),
            ("max_processes", 1 <= self.max_processes <= 256, "from 1 to 256"),
            ("max_threads", 0 <= self.max_threads <= 256, "from 0 to 256"),
            ("scratch_bytes", MiB <= self.scratch_bytes <= 16 * GiB, "from 1 MiB to 16 GiB"),
            ("grace_s", 0 <= self.grace_s <= 10, "from 0 to 10"),
            ("num_spare", 0 <= self.num_spare <= 256, "from 0 to 256"),
            ("preload", all(name.isidentifier() for name in self.preload), "names of modules"),
            ("hidden", all(path.is_absolute() for path in self.hidden), "absolute paths"),
        )
        check_fields(self, checks)

    def to_json(self) -> dict[str, Any]:
        """A form for the wire; `from_json` reads it."""
        paths = {"hidden": [str(path) for path in self.hidden], "python": str(self.python) if self.python else None}
        return asdict(self) | paths | {"layers": sorted(self.layers)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        changed = {
            "preload": tuple(values["preload"]),
            "hidden": tuple(Path(path) for path in values["hidden"]),
            "layers": to_layers(values["layers"]),
            "python": Path(values["python"]) if values["python"] else None,
        }
        return cls(**{**values, **changed})
