"""The kit and what it needs, installed from the dataset where no package index can be reached.

Run by the notebook's first cell as `python -m kit.kaggle.notebook.bootstrap DATASET MOUNTS TARGET`, from inside the
kit's wheel, in a process of its own, so that the notebook imports nothing but what is installed. In: the mounted
dataset.
Out: a folder for the front of sys.path. With wheels in the dataset it holds the kit's own requirements, too, of the
locked versions; without, only the kit. What the model needs is installed later, while the server listens already
(`notebook.startup`).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from kit.errors import InputError, KitError
from kit.kaggle.dataset.manifest import load_manifest
from kit.kaggle.dataset.restoring import restore
from kit.kaggle.wheels.installers import undirected, uv_command


def install_kit(dataset: Path, target: Path, *, mounts: Path, uv: Sequence[str] | None) -> None:
    """Install the kit's wheel into `target`, with its requirements if the dataset holds wheels.

    uv: how to call it; None for pip, which is slower. The dataset is restored beside `target` unhashed: that is done
    again, in full, while the server listens.
    Raises: MissingError, InputError or StorageError naming the file that is to blame.
    """
    wheels = load_manifest(dataset).wheels
    restored = restore(dataset, target.with_name("kit-wheels"), mounts=mounts, max_hashed_bytes=0)
    kit_wheel = next(restored.glob("mathllm_kit-*.whl"))
    needs = ["--no-deps"] if wheels is None else ["--find-links", str((restored / wheels.lock).parent)]
    command = [*_installer(uv), "--quiet", "--no-index", "--upgrade", "--target", str(target), *needs, str(kit_wheel)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=undirected(os.environ))
    if done.returncode:
        raise InputError(f"{kit_wheel}: the kit does not install:\n{done.stderr.strip()[-2000:]}")


def _installer(uv: Sequence[str] | None) -> list[str]:
    if uv is None:
        return [sys.executable, "-P", "-m", "pip", "install", "--no-compile"]
    return [*uv, "pip", "install", "--no-config", "--offline", "--no-cache", "--python", sys.executable]


def main() -> int:
    """Parse, install, and turn a failure into an exit status: the kit runs from its wheel as well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("mounts", type=Path)
    parser.add_argument("target", type=Path)
    args = parser.parse_args()
    try:
        install_kit(args.dataset, args.target, mounts=args.mounts, uv=uv_command())
    except KitError as error:
        sys.stderr.write(f"the kit is used from its wheel: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
