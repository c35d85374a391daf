"""Processes that train together, by accelerate: under torchrun as many as it starts, else one.

In: a device and whether products are in bfloat16. Out: kit.training.workers.Workers. `accelerate launch --cpu` silently
runs a single process; torchrun with the backend gloo runs as many as asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import torch
from torch import Tensor

from kit.errors import InputError

_MadeT = TypeVar("_MadeT")


class AcceleratedWorkers:
    """accelerate's processes, on the CPU or on a GPU each.

    Raises: InputError where accelerate takes another device: it keeps that of the process's first training.
    """

    def __init__(self, device: torch.device, *, bf16: bool = False) -> None:
        from accelerate import Accelerator

        try:
            self._accelerator: Any = Accelerator(cpu=device.type == "cpu")
        except ValueError as error:  # its state "cannot be changed"
            raise _another_device(device, str(error)) from error
        if self.device.type != device.type:
            raise _another_device(device, f"it runs on {self.device}")
        self._bf16 = bf16  # not accelerate's: its mixed precision is one for the life of a process

    @property
    def rank(self) -> int:
        """Which of the processes this is."""
        return int(self._accelerator.process_index)

    @property
    def number(self) -> int:
        """How many there are."""
        return int(self._accelerator.num_processes)

    @property
    def device(self) -> torch.device:
        """This process's."""
        device: torch.device = self._accelerator.device
        return device

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """One reduction for each type of number."""
        if self.number == 1:
            return
        for dtype in sorted({tensor.dtype for tensor in tensors}, key=str):
            same = [tensor for tensor in tensors if tensor.dtype == dtype]
            flat = torch.cat([tensor.flatten() for tensor in same])
            shares = self._accelerator.reduce(flat, "sum").split([tensor.numel() for tensor in same])
            for tensor, share in zip(same, shares, strict=True):
                tensor.copy_(share.view_as(tensor))

    def all_names(self, names: Collection[str]) -> list[str]:
        """The names of all processes, each once, sorted."""
        if self.number == 1:
            return sorted(names)
        from accelerate.utils import gather_object

        return sorted(set(gather_object(list(names))))

    def autocast(self) -> AbstractContextManager[None]:
        """Products in bfloat16 where that was asked for; weights stay as they are."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self._bf16)

    def wait(self) -> None:
        """Until all are here."""
        self._accelerator.wait_for_everyone()

    def in_turn(self, make: Callable[[], _MadeT]) -> _MadeT:
        """What the first process makes and keeps on disk, and the others then find there."""
        if self.rank == 0:
            made = make()
            self.wait()
            return made
        self.wait()
        return make()


def _another_device(device: torch.device, why: str) -> InputError:
    return InputError(
        f"device={device.type!r} but accelerate takes another ({why}); train in a process of its own, and unset "
        "ACCELERATE_USE_CPU"
    )
