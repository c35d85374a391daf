"""Confining a worker, layer by layer, and finding out which layers this machine grants.

In: the configuration and the layers to use. Out: a confined process, or OSError; or a `Confinement`. The order
matters: namespaces, mounts, limits, user id, Landlock, and last the filter that would refuse all of these.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from kit.linux import Control, Namespace, drop_capabilities, let_go, prctl, unshare
from kit.sandbox.config import MiB, SandboxConfig
from kit.sandbox.confinement import Absence, Layer
from kit.sandbox.inside import audit, folders, landlock, mounts, seccomp

_STACK_BYTES = 64 * MiB  # deep recursion through C ends in RecursionError rather than in a crash
_NICE = 10
_GRANTED_BY_ROOT = Namespace.MOUNT | Namespace.NETWORK | Namespace.IPC | Namespace.UTS


def enter_own_processes() -> None:
    """Give the next child of this process a process namespace of its own; in a user namespace if need be.

    Raises: OSError.
    """
    uid, gid = os.geteuid(), os.getegid()
    try:
        unshare(Namespace.PID)
    except PermissionError:
        unshare(Namespace.USER | Namespace.PID)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")


def confine(config: SandboxConfig, layers: frozenset[Layer], uid: int) -> None:
    """Confine this process for good; `uid` is its user id where Layer.UID is among the layers.

    Raises: OSError.
    """
    readable = folders.readable(config.hidden)
    os.umask(0o022)  # with a stricter one, the folders that lead to Python in the new root would be root's alone
    _give_way()
    if Layer.NAMESPACES in layers:
        unshare(_GRANTED_BY_ROOT)
        mounts.enter(readable, config.scratch_bytes)
        os.chdir(folders.SCRATCH)
    else:
        os.chdir("/")
    _limit(config, layers)
    if Layer.UID in layers:
        _become(uid)
    drop_capabilities()
    prctl(Control.SET_NO_NEW_PRIVS, 1)
    prctl(Control.SET_PDEATHSIG, signal.SIGKILL)  # after the user id, whose change clears it
    if Layer.LANDLOCK in layers:
        scratch = (folders.SCRATCH,) if Layer.NAMESPACES in layers else ()
        landlock.restrict(readable=readable, writable=(*scratch, *folders.DEVICES))
    if Layer.SECCOMP in layers:
        seccomp.install(_refusals(config, layers))
    let_go()
    audit.refuse(_groups(layers), readable)


def probe(config: SandboxConfig) -> tuple[frozenset[Layer], tuple[Absence, ...]]:
    """The layers of the configuration that work here, and why each of the others does not.

    Each is tried in a process of its own, on top of those found before. One that fails is tried again with nothing
    to show or to run: if that works, the machine grants it, and it is lost for a reason that can be mended.
    """
    held: frozenset[Layer] = frozenset()
    absent = []
    for layer in Layer:
        if layer not in config.layers:
            absent.append(Absence(layer=layer, why="switched off"))
        elif why := _try(partial(_rehearse, config, held | {layer})):
            absent.append(Absence(layer=layer, why=why, is_granted=not _try(_ALONE[layer])))
        else:
            held |= {layer}
    return held, tuple(absent)


def own_uid() -> int:
    """A user id for the sandbox under this init process: no other process has this pid, so no other sandbox the id.

    Kept under 65536, since a container may map no more.
    """
    return 20_000 + os.getpid() % 40_000


def _give_way() -> None:
    """Let the engine go first, and let the kernel end this process first when memory runs out."""
    with suppress(OSError):  # a courtesy: containers may refuse it
        os.nice(_NICE)
        Path("/proc/self/oom_score_adj").write_text("1000")


def _limit(config: SandboxConfig, layers: frozenset[Layer]) -> None:
    # The kernel counts threads and processes by one number. Only where the filter refuses every process are threads
    # all that it counts; elsewhere they share what processes may have.
    only_threads = config.max_processes == 1 and Layer.SECCOMP in layers
    num_tasks = 1 + config.max_threads if only_threads else config.max_processes
    # Where nothing bounds the sum of what is written, nothing is: a file may not grow. Pipes are no files.
    file_bytes = config.scratch_bytes if Layer.NAMESPACES in layers else 0
    limits = {
        resource.RLIMIT_AS: config.memory_bytes,
        resource.RLIMIT_CPU: config.cpu_s,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: file_bytes,
        resource.RLIMIT_NOFILE: config.max_open_files,
        resource.RLIMIT_NPROC: num_tasks,
        resource.RLIMIT_MSGQUEUE: 0,
        resource.RLIMIT_STACK: _STACK_BYTES,
    }
    for kind, value in limits.items():
        hard = resource.getrlimit(kind)[1]
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (bound, bound))


def _become(uid: int) -> None:
    """Take a user id of no name, in one way only. Raises: OSError if Python could not be read as that user."""
    os.setgroups([])
    os.setegid(uid)
    os.seteuid(uid)
    try:
        for file in (os.__file__, sys.executable):
            Path(file).stat()
    finally:
        os.seteuid(0)
        os.setegid(0)
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def _refusals(config: SandboxConfig, layers: frozenset[Layer]) -> seccomp.Refusals:
    # Limits on processes count for a user id, and never for root: where they could not be bounded, there are none.
    is_bounded = Layer.UID in layers or os.geteuid() != 0
    return seccomp.Refusals(
        new_processes=config.max_processes == 1 or not is_bounded,
        others_signals=not layers & {Layer.NAMESPACES, Layer.UID},
        file_attributes=not layers & {Layer.NAMESPACES, Layer.UID},
    )


def _groups(layers: frozenset[Layer]) -> list[audit.Group]:
    """What Python must refuse itself, since no layer does."""
    instead = {
        audit.Group.NETWORK: {Layer.NAMESPACES, Layer.SECCOMP},
        audit.Group.FILES: {Layer.NAMESPACES, Layer.LANDLOCK},
        audit.Group.ATTRIBUTES: {Layer.NAMESPACES, Layer.UID, Layer.SECCOMP},
        audit.Group.PROCESSES: {Layer.UID, Layer.SECCOMP},
        audit.Group.LOCKS: {Layer.SECCOMP},
    }
    return [group for group, enough in instead.items() if not layers & enough]


def _alone_in_namespaces() -> None:
    enter_own_processes()
    if why := _try(_alone_in_mounts):
        raise OSError(why)


def _alone_in_mounts() -> None:
    unshare(_GRANTED_BY_ROOT)
    mounts.enter((), MiB)


def _alone_as_user() -> None:
    _check_root()
    os.setresuid(own_uid(), own_uid(), own_uid())


def _alone_in_landlock() -> None:
    prctl(Control.SET_NO_NEW_PRIVS, 1)
    landlock.restrict(readable=(), writable=())


def _alone_in_filter() -> None:
    prctl(Control.SET_NO_NEW_PRIVS, 1)
    seccomp.install(seccomp.Refusals(new_processes=True, others_signals=True, file_attributes=True))


_ALONE: dict[Layer, Callable[[], None]] = {
    Layer.NAMESPACES: _alone_in_namespaces,
    Layer.UID: _alone_as_user,
    Layer.LANDLOCK: _alone_in_landlock,
    Layer.SECCOMP: _alone_in_filter,
}
"""Each layer by itself, with nothing to show or to run: whether the machine grants it at all."""


def _check_root() -> None:
    if os.geteuid() != 0:
        raise PermissionError("the kit does not run as root")


def _rehearse(config: SandboxConfig, layers: frozenset[Layer]) -> None:
    """What an init process and its worker do, with nothing to run."""
    if Layer.UID in layers:
        _check_root()
    uid = own_uid()
    if Layer.NAMESPACES in layers:
        enter_own_processes()
    if why := _try(partial(confine, config, layers, uid)):
        raise OSError(why)


def _try(action: Callable[[], None]) -> str:
    """Do something in a child; why it failed, or nothing."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            action()
            os._exit(0)
        except OSError as error:  # this layer does not work here
            os.write(writing, (str(error) or type(error).__name__).encode()[:500])
        finally:  # whatever else it was: the child may not go on as its parent would
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        why = file.read().decode(errors="replace")
    _, status = os.waitpid(pid, 0)
    return why or (f"ended with status {status}" if status else "")
