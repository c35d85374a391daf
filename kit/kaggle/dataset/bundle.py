"""The dataset: the kit's wheel, what it needs itself, the model, wheels and a manifest, as one flat folder for Kaggle.

In: what it is to hold (`kit.kaggle.dataset.plan`). Out: the folder, and what did not enter. The same inputs give the
same bytes. All that can be checked is checked before anything is written: the model, Kaggle's limits, the disk,
secrets.

Beside the dataset, in `<dataset>.build`, lie the half-built next one and a record of what was written from what. So
after a kill the same command goes on, a second build copies only what has changed, and an interrupted one leaves the
dataset before it untouched.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import kit
from kit.checkout import build_wheel, commit
from kit.errors import InputError, KitError, cannot_write
from kit.kaggle import facts
from kit.kaggle.dataset.contents import Contents, Followed, LeftOut, check_kit_wheel, model_contents, source_of
from kit.kaggle.dataset.manifest import MANIFEST_NAME, Entry, Manifest, ModelSource, WheelSet, load_manifest
from kit.kaggle.dataset.model_source import model_source_of
from kit.kaggle.dataset.packing import Piece, pack
from kit.kaggle.dataset.plan import DatasetPlan, Wheelhouse, check_plan, contents_of
from kit.kaggle.dataset.restoring import MODEL_FOLDER
from kit.kaggle.dataset.wheel_output import wheel_set
from kit.kaggle.dataset.writing import Record, reuse, write
from kit.kaggle.transfer import check_space
from kit.kaggle.wheels.lockfile import load_lock
from kit.lock import held

_MANIFEST_BYTES = 1 << 20  # more than any manifest has


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A built dataset and what it holds. num_reused: files that an earlier run had written."""

    folder: Path
    manifest: Manifest
    left_out: tuple[LeftOut, ...] = ()
    followed: tuple[Followed, ...] = ()
    num_reused: int = 0

    @property
    def size_bytes(self) -> int:
        """Bytes of all files but the manifest."""
        return sum(entry.size_bytes for entry in self.manifest.entries)


def build(
    out: Path,
    plan: DatasetPlan,
    *,
    kit_wheel: Path | None = None,
    on_bytes: Callable[[int, int], None] = lambda num_bytes, total_bytes: None,
) -> Bundle:
    """Write the dataset into `out`, replacing an earlier build.

    kit_wheel: the kit's own wheel, for who has it; else it is built.
    on_bytes: told, from any thread, how many more bytes are there, and of how many in all.
    Raises: as `check_plan`; InputError for a wheel that could not be used, a secret, or what is too large for Kaggle;
    InputError if `out` holds anything but a build; StorageError if it cannot be written.
    """
    check_plan(plan)
    _check_out(out)
    with tempfile.TemporaryDirectory() as scratch:
        wheel = kit_wheel or build_wheel(Path(scratch))
        check_kit_wheel(wheel)
        contents = Contents((source_of(wheel.name, wheel),)) + contents_of(plan)
        pieces = pack(contents.sources)
        check_limits(pieces)
        return replace(_build(out, plan, pieces, on_bytes), left_out=contents.left_out, followed=contents.followed)


def check_limits(pieces: Sequence[Piece]) -> None:
    """Refuse what Kaggle would refuse after the upload.

    Raises: InputError.
    """
    total_bytes = sum(piece.size_bytes for piece in pieces) + _MANIFEST_BYTES
    if total_bytes > facts.MAX_BYTES:
        largest = max(pieces, key=lambda piece: piece.size_bytes)
        fix = "choose a smaller model, or attach it as a Kaggle Model with --model-source"
        raise InputError(
            f"the dataset would have {total_bytes:,} bytes, Kaggle takes {facts.MAX_BYTES:,}; "
            f"the largest file is {largest.contents[0].source.file}; {fix}"
        )


def _check_out(out: Path) -> None:
    """Refuse to replace anything but an earlier build, whole and with nothing beside it."""
    if not out.exists():
        return
    if not out.is_dir():
        raise InputError(f"{out}: is a file; choose a folder for --out")
    if out.is_mount():  # a build is written beside its place, and takes it by a change of names
        raise InputError(f"{out}: is where a disk is mounted; name a folder in it: --out {out / 'dataset'}")
    present = {path.name for path in out.iterdir()}
    if not present:
        return
    if MANIFEST_NAME not in present:
        raise InputError(f"{out}: holds files but no build of the kit; choose an empty folder for --out")
    others = present - {MANIFEST_NAME, facts.DATASET_METADATA} - {entry.file for entry in load_manifest(out).entries}
    if others:
        raise InputError(f"{out}: holds {min(others)!r}, which no build put there; move it or choose another --out")


def _build(out: Path, plan: DatasetPlan, pieces: Sequence[Piece], on_bytes: Callable[[int, int], None]) -> Bundle:
    target = out.resolve()
    work = target.with_name(f"{target.name}.build")
    total_bytes = sum(piece.size_bytes for piece in pieces)
    record = Record(work / "record.json")
    found = {piece.file for piece in pieces if record.entry(piece, work / "dataset") or record.entry(piece, target)}
    missing_bytes = sum(piece.size_bytes for piece in pieces if piece.file not in found)
    check_space(target, missing_bytes, purpose="write", fix="free some disk, or choose another --out")
    with held(work):
        record = Record(work / "record.json")  # again, for until now another build may have written it
        try:
            _recover(target, work)
            folder = work / "dataset"
            entries = reuse(pieces, folder, target, record)
            num_reused = len(entries)
            on_bytes(sum(entry.size_bytes for entry in entries.values()), total_bytes)
            missing = [piece for piece in pieces if piece.file not in entries]
            entries |= write(missing, folder, record, on_bytes=lambda num_bytes: on_bytes(num_bytes, total_bytes))
            manifest = _finish(folder, plan, tuple(entries[piece.file] for piece in pieces))
            _replace(target, folder, work)
        except KitError:
            raise
        except OSError as error:
            raise cannot_write(out, error) from error
    return Bundle(folder=out, manifest=manifest, num_reused=num_reused)


def _finish(folder: Path, plan: DatasetPlan, entries: tuple[Entry, ...]) -> Manifest:
    metadata = (json.dumps(plan.metadata.metadata, indent=1) + "\n").encode()
    (folder / facts.DATASET_METADATA).write_bytes(metadata)
    manifest = Manifest(
        kit_version=kit.__version__,
        commit=commit(),
        entries=entries,
        wheels=None if plan.wheels is None else _wheel_set(plan.wheels),
        model_source=None if plan.model_source is None else _model_source(plan, plan.model_source),
        metadata_sha256=hashlib.sha256(metadata).hexdigest(),
    )
    manifest.save(folder)
    return manifest


def _wheel_set(wheels: Wheelhouse) -> WheelSet:
    return wheel_set(load_lock(wheels.lock), wheels.lock.name, source=wheels.source)


def _model_source(plan: DatasetPlan, ref: str) -> ModelSource:
    sources = model_contents(MODEL_FOLDER, plan.model).sources if plan.model is not None else ()
    return model_source_of(ref, sources, plan.listing, without={file.name for file in plan.model_files})


def _replace(target: Path, folder: Path, work: Path) -> None:
    """Put the new build in the place of the old one, which keeps its files until then."""
    before = work / "before"
    if target.exists():
        target.rename(before)
    folder.rename(target)
    shutil.rmtree(before, ignore_errors=True)


def _recover(target: Path, work: Path) -> None:
    """Undo a replacing that was killed half-way: the build before is whole, the new one is made again."""
    before = work / "before"
    if before.exists() and not target.exists():
        before.rename(target)
    shutil.rmtree(before, ignore_errors=True)
