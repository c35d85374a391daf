"""From a target to its lock: uv resolves the versions and says which files there are, their sizes and SHA-256.

Nothing is downloaded but metadata. The newest set that fits is taken each time, so locking again may change it.
uv is a tool on its own and no dependency of the kit.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path

from kit.errors import InputError, MissingError
from kit.kaggle.wheels.index import Index
from kit.kaggle.wheels.installers import undirected, uv_command
from kit.kaggle.wheels.lockfile import Lock, wheels_of
from kit.kaggle.wheels.target import Target


def resolve(target: Target, index: Index) -> Lock:
    """The newest set of wheels that fits the target.

    Raises: MissingError if uv is not there; InputError if no set fits, with uv's explanation, or naming the package
    that has no wheel for the target.
    """
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
    return Lock(target, wheels_of(tomllib.loads(done.stdout), target, source=f"target {target.name}"))


def _options(target: Target) -> Sequence[str]:
    return (
        "pip", "compile", "--format", "pylock.toml", "--quiet", "--no-config", "--no-header", "--no-annotate",
        "--only-binary", ":all:", "--python-platform", target.platform, "--python-version", target.python,
        "--no-python-downloads",
    )  # fmt: skip


def _environ(index: Index) -> dict[str, str]:
    """uv's environment: pip's index and no other; not on the command line, where all could read its password."""
    certificates = {} if index.certificates is None else {"SSL_CERT_FILE": index.certificates}
    return {**undirected(os.environ), **certificates, "UV_DEFAULT_INDEX": index.url}
