"""What is wrong with this machine, this bundle or these credentials: checks for one screen.

In: the environment, and a dataset if there is one. Out: checks, each with its findings; an error is what stops a dry
run or an upload from here, a warning what is good to know. Nothing is sent, and no credential is shown.
"""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

import trio

from kit.checkout import PROJECT
from kit.engines.vllm.server.diagnosis import diagnose, read_capacity
from kit.errors import EngineError, InputError, MissingError
from kit.kaggle.checks.machine import Machine, Needs, check_machine
from kit.kaggle.findings import Check, Finding, error, lowered, warning
from kit.kaggle.offline import Isolation, without_network
from kit.kaggle.upload.client import check_installed
from kit.kaggle.upload.credentials import find_credentials
from kit.kaggle.wheels.committed import current_lock
from kit.kaggle.wheels.lockfile import lock_path
from kit.recipes.vllm import SERVER_FOLDER
from kit.sandbox.config import SandboxConfig
from kit.sandbox.confinement import Confinement, Layer
from kit.sandbox.pool import open_pool

_PACKAGES = ("torch", "transformers", "polars", "grpcio", "nbclient", "matplotlib")
_ENVIRONMENT_FIX = "make environment"
_LAYER_FIX = "install Python where every user may read it, outside of folders that only you may enter"


def examine(environ: Mapping[str, str], *, scratch: Path, runs: Path) -> Iterator[Check]:
    """Every check of this machine and these credentials, one after another; the sandbox takes some seconds.

    runs: the folder of the dry runs.
    """
    yield from _machine(scratch)
    yield packages()
    yield network(scratch)
    yield sandbox()
    yield locks()
    yield last_start(runs)
    yield client()
    yield credentials(environ)


def _machine(scratch: Path) -> Iterator[Check]:
    """What it has; that it is no Kaggle machine is no fault."""
    needed = Needs(weights_bytes=0, unpacked_bytes=0, target=None)
    yield from map(lowered, check_machine(Machine.here(scratch), needed))


def packages() -> Check:
    """Whether a dry run finds what it imports."""
    absent = [name for name in _PACKAGES if importlib.util.find_spec(_module(name)) is None]
    seen = ", ".join(f"{name} {metadata.version(name)}" for name in _PACKAGES if name not in absent)
    findings = tuple(error(name, "is not installed", _ENVIRONMENT_FIX) for name in absent)
    return Check(name="packages", detail=seen or "none", findings=findings)


def network(scratch: Path) -> Check:
    """How a dry run takes the network away."""
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        isolation = without_network(("true",), scratch=Path(folder)).isolation
    finding = warning(
        "network", "a dry run cannot have a namespace without network here", "allow user namespaces, or run as root"
    )
    findings = () if isolation is Isolation.NAMESPACE else (finding,)
    return Check(name="offline", detail=isolation.value, findings=findings)


def sandbox() -> Check:
    """What confines the model's Python here."""
    try:
        confinement = trio.run(_confinement)
    except EngineError as fault:
        finding = Finding.of(fault, file="sandbox", fix="prompts with tools cannot be used on this machine")
        return Check(name="sandbox", detail="none can be started", findings=(finding,))
    if confinement is None:
        return Check(name="sandbox", detail="none was started")
    promises = (
        (confinement.hides_files, "files outside of it can be read", "allow namespaces or Landlock"),
        (confinement.blocks_network, "the network is blocked in Python only", "allow namespaces or seccomp"),
        (confinement.bounds_processes, "the number of processes is not bounded", "allow seccomp, or run as root"),
    )
    findings = tuple(warning("sandbox", problem, fix) for is_kept, problem, fix in promises if not is_kept)
    findings += tuple(
        warning("sandbox", f"the layer {absence.layer} is granted here and lost: {absence.why}", _LAYER_FIX)
        for absence in confinement.lost
    )
    return Check(name="sandbox", detail=_layers(confinement), findings=findings)


def _layers(confinement: Confinement) -> str:
    """Those in force and the others; why the machine does not grant one matters where a promise is broken."""
    held, others = sorted(confinement.layers), sorted(set(Layer) - confinement.layers)
    detail = ", ".join(held) or "resource limits only"
    return detail + (f"; not granted here: {', '.join(others)}" if others else "")


async def _confinement() -> Confinement | None:
    async with open_pool(SandboxConfig(num_spare=0)) as pool, pool.lend():
        return pool.confinement


def locks(*, project: Path = PROJECT) -> Check:
    """Whether every lock is as young as what it was made from."""
    names = sorted(path.name.split(".")[1] for path in (project / "wheels").glob(lock_path(Path(), "*").name))
    findings = []
    for name in names:
        try:
            current_lock(name, project)
        except (MissingError, InputError) as fault:
            findings.append(Finding.of(fault, file=name, fix=f"kit wheels lock --target {name}"))
    uv = "uv found" if importlib.util.find_spec("uv") or shutil.which("uv") else "no uv, which `kit wheels lock` needs"
    return Check(name="wheel locks", detail=f"{', '.join(names)}; {uv}", findings=tuple(findings))


def last_start(runs: Path) -> Check:
    """What vLLM told of its memory when a dry run last started it. runs: the folder of the dry runs."""
    tail = Path("kaggle", "tmp", SERVER_FOLDER, "server.log")
    logs = [*runs.glob(f"run-*/{tail}"), *runs.glob(f"run-*/*/{tail}")]
    if not logs:
        return Check(name="vLLM's memory", detail=f"not started yet by a dry run in {runs}")
    path = max(logs, key=lambda log: log.stat().st_mtime)
    text = path.read_text(encoding="utf-8", errors="replace").rpartition("\n=== ")[2]
    capacity = read_capacity(text)
    if capacity is not None:
        return Check(name="vLLM's memory", detail=str(capacity))
    told = diagnose(text)
    finding = warning(path, f"the last start told no cache: {told.line or told.cause.value}", told.fix)
    return Check(name="vLLM's memory", detail="unknown", findings=(finding,))


def client() -> Check:
    """Whether the kaggle client can run."""
    try:
        version = check_installed()
    except MissingError as fault:
        finding = Finding.of(fault, file="kaggle", fix=_ENVIRONMENT_FIX)
        return Check(name="kaggle client", detail="not installed; `kit upload` needs it", findings=(finding,))
    return Check(name="kaggle client", detail=version)


def credentials(environ: Mapping[str, str]) -> Check:
    """Where they come from, and never what they are; without any, all but uploading works."""
    try:
        found = find_credentials(environ)
    except MissingError as fault:
        problem, _, fix = str(fault).rpartition("\n")
        finding = warning("credentials", f"nothing can be uploaded: {problem}", fix)
        return Check(name="credentials", detail="none", findings=(finding,))
    return Check(name="credentials", detail=f"{found.source}, of {found.username or 'a token'}")


def _module(package: str) -> str:
    return {"grpcio": "grpc"}.get(package, package)
