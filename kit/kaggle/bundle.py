"""The dataset: the kit's wheel, the model and a manifest, as one flat folder that Kaggle accepts.

First version; the wheelhouse, shards and limits come with the full packaging. Reproducible: the same
inputs give the same bytes (the wheel's times are fixed).
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import kit
from kit.engines.model_folder import check_model_folder, check_tokenizer_files
from kit.errors import InputError, KitError, MissingError, cannot_write
from kit.kaggle.manifest import MANIFEST_NAME, Entry, Manifest, load_manifest, sha256_of
from kit.kaggle.startup import MODEL_FOLDER, TRM_FOLDER

SOURCE = Path(kit.__file__).parent.parent
"""The checkout this kit is installed from."""

_EPOCH = "1577836800"  # 2020-01-01: any fixed time after 1980, which zip cannot go below
_SEPARATOR = "__"  # stands for "/" in flat names


@dataclass(frozen=True, slots=True)
class Bundle:
    """A built dataset and what it holds."""

    folder: Path
    manifest: Manifest

    @property
    def size_bytes(self) -> int:
        """Bytes of all files but the manifest."""
        return sum(entry.size_bytes for entry in self.manifest.entries)


def build(out: Path, *, model: Path, trm: Path | None = None) -> Bundle:
    """Write the dataset into `out`, replacing an earlier build; one that is interrupted leaves that untouched.

    trm: a recursive model for this very `model`, as kit.trm saves it; None leaves it out.
    Raises: MissingError or InputError for a model that could not be loaded; InputError if `out` holds
    anything but a build; StorageError if it cannot be written.
    """
    check_model_folder(model)
    check_tokenizer_files(model)
    if trm is not None:
        _check_trm(trm, model)
    _check_out(out)
    partial = out.with_name(f"{out.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        manifest = _fill(partial, {MODEL_FOLDER: model, **({} if trm is None else {TRM_FOLDER: trm})})
        if out.exists():
            shutil.rmtree(out)  # holds nothing but an earlier build: checked above
        partial.rename(out)
    except KitError:
        raise
    except OSError as error:
        raise cannot_write(out, error) from error
    return Bundle(out, manifest)


def build_wheel(out: Path) -> Path:
    """Build the kit's wheel from its checkout without a network; the same sources give the same bytes.

    Raises: MissingError if the kit is not installed from a checkout; InputError if the build fails.
    """
    if not (SOURCE / "pyproject.toml").is_file():
        raise MissingError(f"{SOURCE / 'pyproject.toml'}: not found; build the dataset from a checkout of the kit")
    if importlib.util.find_spec("build") is None:
        mend = f"use {SOURCE / '.venv' / 'bin' / 'python'}, which `make` makes"
        raise MissingError(f"{sys.executable}: has no package `build`, needed to build the kit's wheel; {mend}")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(SOURCE)]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": _EPOCH}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    wheels = list(out.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        raise InputError(f"{SOURCE}: the kit's wheel does not build:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return wheels[0]


def _top_level_files(name: str, folder: Path) -> dict[str, Path]:
    """The files right in `folder` by their path in the dataset, below `name`; hidden ones stay out."""
    files = (path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    return {f"{name}/{path.name}": path for path in files}


def _check_trm(trm: Path, model: Path) -> None:
    """Refuse what the engine would refuse at the contest's start: a damaged TRM, or one of another model."""
    check_model_folder(trm)
    from kit.trm.checkpoint import check_backbone, load_alone  # here, because it loads torch

    config = load_alone(trm).config
    if config.cache != "exact":
        raise InputError(f"{trm}: cache is {config.cache!r}, an approximation to measure; a submission needs 'exact'")
    check_backbone(config, model)


def _check_out(out: Path) -> None:
    """Refuse to replace anything but an earlier build, whole and with nothing beside it."""
    if not out.exists():
        return
    if not out.is_dir():
        raise InputError(f"{out}: is a file; choose a folder for --out")
    present = {path.name for path in out.iterdir()}
    if not present:
        return
    if MANIFEST_NAME not in present:
        raise InputError(f"{out}: holds files but no build of the kit; choose an empty folder for --out")
    others = present - {MANIFEST_NAME} - {entry.file for entry in load_manifest(out).entries}
    if others:
        raise InputError(f"{out}: holds {min(others)!r}, which no build put there; move it or choose another --out")


def _fill(folder: Path, parts: Mapping[str, Path]) -> Manifest:
    with tempfile.TemporaryDirectory() as scratch:
        wheel = build_wheel(Path(scratch))
        files = {wheel.name: wheel}
        for name, part in parts.items():
            files |= _top_level_files(name, part)
        entries = tuple(_copy(source, path, folder) for path, source in sorted(files.items()))
    manifest = Manifest(kit_version=kit.__version__, commit=_commit(), entries=entries)
    manifest.save(folder)
    return manifest


def _copy(source: Path, path: str, out: Path) -> Entry:
    target = out / path.replace("/", _SEPARATOR)
    shutil.copyfile(source, target)
    return Entry(path, target.name, target.stat().st_size, sha256_of(target))


def _commit() -> str:
    """The checkout's commit, with `+changes` if files differ from it; `unknown` outside git."""
    git = ["git", "-C", str(SOURCE)]
    if shutil.which("git") is None:
        return "unknown"
    head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    if head.returncode:
        return "unknown"
    status = [*git, "status", "--porcelain", "--untracked-files=no"]
    changes = subprocess.run(status, capture_output=True, text=True, check=False)
    return head.stdout.strip() + ("+changes" if changes.stdout.strip() else "")
