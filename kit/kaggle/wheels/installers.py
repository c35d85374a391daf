"""uv and pip as tools: how to call them, and an environment in which they know nothing but what they are told."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Mapping

# What would change a resolution or an install behind the lock's back; settings of TLS, cache and time-outs stay.
_SWAYING = frozenset(
    """
    UV_INDEX UV_DEFAULT_INDEX UV_INDEX_URL UV_EXTRA_INDEX_URL UV_FIND_LINKS UV_INDEX_STRATEGY UV_CONSTRAINT
    UV_OVERRIDE UV_EXCLUDE UV_EXCLUDE_NEWER UV_PRERELEASE UV_RESOLUTION UV_CONFIG_FILE UV_TORCH_BACKEND
    PYTHONPATH PYTHONHOME
    """.split()
)


def uv_command() -> tuple[str, ...] | None:
    """How to call uv: this Python's own, else the one on PATH, else None."""
    if importlib.util.find_spec("uv") is not None:
        return (sys.executable, "-P", "-m", "uv")
    found = shutil.which("uv")
    return None if found is None else (found,)


def undirected(environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` without any index, folder of wheels or constraint that uv or pip would take from it or their files."""
    kept = {name: value for name, value in environ.items() if name not in _SWAYING and not name.startswith("PIP_")}
    return {**kept, "PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
