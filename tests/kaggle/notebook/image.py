"""A stand-in for Kaggle's image: a kernel whose Python has what that has and nothing else of this environment's.

The names are those of the base image's package list (docs/kaggle.md#image), the versions this environment's, by links.
"""

from __future__ import annotations

import json
import os
import re
import sys
import venv
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

HAS = (
    "pip",
    "ipykernel",
    "torch",
    "transformers",
    "jinja2",
    "polars",
    "grpcio",
    "protobuf",
    "numpy",
    "anyio",
    "rich",
    "sympy",
)
LACKS = frozenset(("trio", "outcome", "sortedcontainers", "mathllm-kit"))
OTHERS = ("trio", "outcome", "sortedcontainers", "attr", "attrs", "sniffio", "sympy", "mpmath", "h11", "kit")
"""Modules of the kit's own needs, and the kit, that no kernel imports by itself."""

_STRANGER = "raise ImportError(\"the image's own: the dataset's must come before it\")\n"


def make_image(folder: Path, *, has_others: bool) -> dict[str, str]:
    """Make the image, and give the environment variables by which a dry run takes it for its kernel.

    has_others: whether it has other versions of what the kit needs, none of which is of any use.
    """
    venv.create(folder / "image", symlinks=True, with_pip=False)
    packages = folder / "image" / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    for path in sorted({path for found in _closure() for path in _top_level(found)}):
        (packages / path.name).symlink_to(path)
    for name in OTHERS if has_others else ():
        (packages / name).unlink(missing_ok=True)
        (packages / f"{name}.py").write_text(_STRANGER)
    kernel = folder / "jupyter" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    argv = [str(folder / "image" / "bin" / "python"), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    kernel.joinpath("kernel.json").write_text(json.dumps({"argv": argv, "display_name": "image", "language": "python"}))
    return {**os.environ, "JUPYTER_PATH": str(folder / "jupyter")}


def pip_settings(environ: dict[str, str]) -> Path:
    """Where the pip of an image that was made looks for its own settings."""
    return Path(environ["JUPYTER_PATH"]).parent / "image" / "pip.conf"


def _closure() -> Iterator[Distribution]:
    """The distributions of the image, with what they require."""
    waiting, seen = list(HAS), set(LACKS)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in seen:
            continue
        seen.add(name)
        found = distribution(name)
        yield found
        wanted = (Requirement(text) for text in found.requires or ())
        waiting += [each.name for each in wanted if each.marker is None or each.marker.evaluate({"extra": ""})]


def _top_level(found: Distribution) -> Iterator[Path]:
    """What lies right in the folder of packages."""
    for part in {file.parts[0] for file in found.files or ()} - {"..", "__pycache__"}:
        yield Path(str(found.locate_file(part)))
