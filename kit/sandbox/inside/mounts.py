"""A root folder of the sandbox's own: what may be read is there, read-only, and a private /tmp; nothing else.

In: readable paths and the size of /tmp. Out: nothing; the process is in the new root. It needs its own mount
namespace and the right to mount in it. There is no /proc and no /sys.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from kit.linux import Attribute, Mount, mount, pivot_root, restrict_mount
from kit.sandbox.inside.folders import DEVICES, SCRATCH

_NEW_ROOT = Path("/proc")  # always there, and never a folder that is to be read
_LOCKED = Attribute.READ_ONLY | Attribute.NOSUID


def enter(readable: Iterable[Path], scratch_bytes: int) -> None:
    """Build the new root and move into it. Raises: OSError."""
    readable = tuple(readable)
    if covering := [path for path in readable if path == SCRATCH or path in SCRATCH.parents]:
        raise OSError(f"{covering[0]} is Python's own and holds {SCRATCH}, which is private; install Python elsewhere")
    # What lies below the private /tmp is shown on top of it, and so after it; the root is locked between the two.
    within = tuple(path for path in readable if SCRATCH in path.parents)
    mount("none", Path("/"), flags=Mount.RECURSIVE | Mount.PRIVATE)
    mount("tmpfs", _NEW_ROOT, "tmpfs", Mount.NOSUID | Mount.NODEV, "mode=755,size=1m")
    for path in readable:
        if path not in within:
            _show(path, _LOCKED | Attribute.NODEV)
    for path in filter(Path.exists, DEVICES):
        _show(path, _LOCKED)
    scratch = _placed(SCRATCH)
    scratch.mkdir(parents=True)
    # World-writable, for the sandbox has a user id that is not known yet; nobody else can see this mount.
    options = f"mode=777,size={scratch_bytes},nr_inodes=4096"
    restrict_mount(_NEW_ROOT, _LOCKED)
    mount("tmpfs", scratch, "tmpfs", Mount.NOSUID | Mount.NODEV, options)
    for path in within:
        _show(path, _LOCKED | Attribute.NODEV)
    pivot_root(_NEW_ROOT)


def _placed(path: Path) -> Path:
    return _NEW_ROOT / path.relative_to("/")


def _show(path: Path, attributes: Attribute) -> None:
    """Bind a path into the new root, or copy it where it is a link."""
    target = _placed(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink():
        target.symlink_to(path.readlink())
        return
    if path.is_dir():
        target.mkdir(exist_ok=True)
    else:
        target.touch()
    mount(path, target, flags=Mount.BIND | Mount.RECURSIVE)
    restrict_mount(target, attributes)
