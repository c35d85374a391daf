"""The NVIDIA driver of this machine, asked through the C library, without torch."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any


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
