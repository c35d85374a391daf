"""What holds a sandbox: the layers there are, and what the machine it runs on granted.

In: the layers wanted and why any of them failed. Out: a `Confinement`, which says in a line what is held and
what is not. It applies nothing; `kit.sandbox.inside.layers` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Self


class Layer(StrEnum):
    """One kind of confinement, each useful without the others. Resource limits are always set.

    Where none of those that hold the network, the files or the processes is granted, a Python audit hook stands in:
    it stops a program that tries, not one that is out to break it.
    """

    NAMESPACES = "namespaces"  # own processes, network, mounts and IPC: what is not granted does not exist
    UID = "uid"  # a user id of its own, where the kit runs as root
    LANDLOCK = "landlock"  # files outside the granted folders cannot be opened, whatever their mode
    SECCOMP = (
        "seccomp"  # only the system calls that mathematics needs: no sockets, new processes, inner parts of the kernel
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Absence:
    """A layer that is not in force. is_granted: the machine has it, and what stands in its way can be mended."""

    layer: Layer
    why: str
    is_granted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Confinement:
    """What holds the sandboxes on this machine.

    layers: those in force. absent: the others. missing_modules: those to preload that are not installed.
    """

    layers: frozenset[Layer]
    absent: tuple[Absence, ...] = ()
    missing_modules: tuple[str, ...] = ()

    @property
    def lost(self) -> tuple[Absence, ...]:
        """The layers that this machine grants and that are not in force all the same."""
        return tuple(absence for absence in self.absent if absence.is_granted)

    @property
    def hides_files(self) -> bool:
        """Weights, data sets and secrets cannot be read, whatever their mode."""
        return bool(self.layers & {Layer.NAMESPACES, Layer.LANDLOCK})

    @property
    def blocks_network(self) -> bool:
        """The kernel refuses the network, not only a hook in Python."""
        return bool(self.layers & {Layer.NAMESPACES, Layer.SECCOMP})

    @property
    def bounds_processes(self) -> bool:
        """The kernel bounds the number of processes, and refuses every call that signals or changes those outside.

        What their files below /proc would let a program do to them is for `hides_files` to say.
        """
        return bool(self.layers & {Layer.UID, Layer.SECCOMP})

    @property
    def has_scratch(self) -> bool:
        """There is a private /tmp. Without mounts nothing can bound what is written, so nothing may be."""
        return Layer.NAMESPACES in self.layers

    def describe(self) -> str:
        """One line for the log."""
        held = ", ".join(sorted(self.layers)) or "resource limits only"
        lacks = "".join(f"; no {absence.layer} ({absence.why})" for absence in self.absent)
        claims = (
            ("network", self.blocks_network),
            ("files", self.hides_files),
            ("processes", self.bounds_processes),
        )
        hooks = [name for name, holds in claims if not holds]
        weak = f"; {' and '.join(hooks)} blocked in Python only" if hooks else ""
        modules = f"; not installed: {', '.join(self.missing_modules)}" if self.missing_modules else ""
        return f"{held}{lacks}{weak}{modules}"

    def to_json(self) -> dict[str, Any]:
        """A form for the wire; `from_json` reads it."""
        return {
            "layers": sorted(self.layers),
            "absent": [asdict(absence) for absence in self.absent],
            "missing_modules": list(self.missing_modules),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        return cls(
            layers=to_layers(values["layers"]),
            absent=tuple(Absence(**{**absence, "layer": Layer(absence["layer"])}) for absence in values["absent"]),
            missing_modules=tuple(values["missing_modules"]),
        )


def to_layers(names: Iterable[str]) -> frozenset[Layer]:
    """The layers of these names."""
    return frozenset(map(Layer, names))
