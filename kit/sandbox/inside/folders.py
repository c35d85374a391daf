"""Which folders a sandbox may read: Python's own and the system's libraries, less what is hidden.

In: what is to be hidden. Out: paths. A path within a hidden one is never among them, and a folder that holds
a hidden one is replaced by its other entries.
"""

from __future__ import annotations

import site
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

SCRATCH = Path("/tmp")
_SYSTEM = (
    "/usr", "/lib", "/lib64", "/lib32", "/bin", "/sbin", "/etc/alternatives", "/etc/ld.so.cache", "/etc/localtime",
)  # fmt: skip
DEVICES = tuple(map(Path, ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")))


def readable(hidden: Iterable[Path]) -> tuple[Path, ...]:
    """Every folder or file that a sandbox may read, none within another."""
    python = (sys.prefix, sys.base_prefix, sys.exec_prefix, *site.getsitepackages())
    named = {Path(path) for path in (*_SYSTEM, *python) if Path(path).exists()}
    roots = sorted(named | {path.resolve() for path in named if path.is_symlink()})  # a link and where it leads
    outermost = [path for path in roots if not any(other in path.parents for other in roots)]
    secrets = {path.resolve() for path in hidden}
    return tuple(visible for root in outermost for visible in _without(root, secrets))


def _without(path: Path, secrets: set[Path]) -> Iterator[Path]:
    real = path.resolve()
    if any(secret == real or secret in real.parents for secret in secrets):
        return
    if not any(real in secret.parents for secret in secrets):
        yield path
    elif path.is_dir():
        for child in sorted(path.iterdir()):
            yield from _without(child, secrets)
