"""From a target to its lock: uv resolves the versions, the index says which file, its size and its SHA-256.

Nothing is downloaded but metadata. The newest set that fits is taken each time, so locking again may change it.
uv is a tool on its own and no dependency of the kit.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from packaging.tags import Tag
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import Version

from kit.errors import InputError, MissingError
from kit.kaggle.wheels.index import Index
from kit.kaggle.wheels.installers import undirected, uv_command
from kit.kaggle.wheels.lockfile import Lock, Wheel
from kit.kaggle.wheels.target import Target, parsed

_NUM_PARALLEL = 16


def resolve(target: Target, index: Index, *, on_wheel: Callable[[int, int], None] = lambda done, total: None) -> Lock:
    """The newest set of wheels that fits the target.

    on_wheel: told after each how many wheels are found, and of how many.
    Raises: MissingError if uv or the index is not there; InputError if no set fits, with uv's explanation, or
    naming the package that has no wheel for the target.
    """
    pins = _pins(target, index)
    order = {tag: place for place, tag in enumerate(target.tags())}
    wheels = []
    with ThreadPoolExecutor(_NUM_PARALLEL) as pool:
        for wheel in pool.map(lambda pin: _find(pin, target, order, index), sorted(pins.items())):
            wheels.append(wheel)
            on_wheel(len(wheels), len(pins))
    return Lock(target, tuple(wheels))


def _pins(target: Target, index: Index) -> dict[str, str]:
    """Each package's version, as uv resolves it for the target."""
    uv = uv_command()
    if uv is None:
        fix = f"install it with `{sys.executable} -m pip install uv`, or put one on PATH"
        raise MissingError(f"uv: not found, and `kit wheels lock` resolves with it; {fix}")
    with tempfile.TemporaryDirectory() as scratch:
        roots, limits = Path(scratch) / "requirements.in", Path(scratch) / "constraints.txt"
        roots.write_text("\n".join(target.requirements) + "\n", encoding="utf-8")
        limits.write_text("\n".join(target.constraints) + "\n", encoding="utf-8")
        command = [*uv, *_options(target), "--constraint", str(limits), str(roots)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=_environ(index))
    if done.returncode:
        explanation = done.stderr.replace(index.url, "(pip's index)").strip()
        raise InputError(f"{target.name}: no set of wheels fits; uv says:\n{explanation}")
    return _parse_pins(done.stdout)


def _options(target: Target) -> Sequence[str]:
    return (
        "pip", "compile", "--quiet", "--no-config", "--no-header", "--no-annotate", "--only-binary", ":all:",
        "--python-platform", target.platform, "--python-version", target.python, "--no-python-downloads",
    )  # fmt: skip


def _environ(index: Index) -> dict[str, str]:
    """uv's environment: pip's index and no other; not on the command line, where all could read its password."""
    certificates = {} if index.certificates is None else {"SSL_CERT_FILE": index.certificates}
    return {**undirected(os.environ), **certificates, "UV_DEFAULT_INDEX": index.url}


def _parse_pins(text: str) -> dict[str, str]:
    """uv's `name==version` lines; a marker behind a pin is always true for the one target."""
    lines = (line.strip() for line in text.splitlines())
    requirements = [parsed(line, source="uv") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(each.name): str(each.specifier).removeprefix("==") for each in requirements}


def _find(pin: tuple[str, str], target: Target, order: Mapping[Tag, int], index: Index) -> Wheel:
    """The best wheel for the target of one version of a package."""
    name, version = pin
    of_version = [offer for offer in index.offers(name) if _version(offer.file) == Version(version)]
    ranked = {rank: offer for offer in of_version if (rank := _rank(offer.file, order)) is not None}
    if not ranked:
        having = ", ".join(offer.file for offer in of_version) or "no wheel at all"
        fix = "keep it to a version that has one, in the target's constraints"
        raise InputError(f"{target.name}: {name} {version} has no wheel for {target.platform} ({having}); {fix}")
    best = ranked[min(ranked)]
    if best.sha256 is None:
        raise InputError(f"{best.file}: the index gives no SHA-256; use an index that does")
    size_bytes = index.size_bytes(best)
    return Wheel(name=name, version=version, file=best.file, size_bytes=size_bytes, sha256=best.sha256)


def _rank(file: str, order: Mapping[Tag, int]) -> tuple[int, int, str] | None:
    """A sort key by which the best of a version's wheels is the least; None for one that does not fit.

    The best tag goes first, then the highest build number, as pip and uv choose.
    """
    _, _, build, tags = parse_wheel_filename(file)
    places = [order[tag] for tag in tags if tag in order]
    number, text = build or (0, "")
    return (min(places), -number, text) if places else None


def _version(file: str) -> Version | None:
    """The version of a wheel; None for any other file."""
    try:
        return parse_wheel_filename(file)[1]
    except InvalidWheelFilename:
        return None
