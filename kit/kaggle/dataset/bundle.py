"""The dataset: the kit's wheel, what it needs itself, the model, wheels and a manifest, as one flat folder for Kaggle.

In: a model's folder, or the name of a Kaggle Model that stays out; if wanted a recursive model and a wheelhouse. Out:
the folder, and what did not enter. The same inputs give the same bytes. All that can be checked is checked before
anything is written: the model, Kaggle's limits, the disk, secrets.

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
from kit import assets
from kit.checkout import build_wheel, commit
from kit.engines.text.adapter_folder import check_adapter
from kit.engines.text.model_folder import check_model_folder, check_tokenizer_files
from kit.errors import InputError, KitError, MissingError, cannot_write
from kit.kaggle import facts
from kit.kaggle.dataset.contents import (
    Contents,
    Followed,
    LeftOut,
    added_contents,
    check_kit_wheel,
    model_contents,
    source_of,
    wheel_contents,
)
from kit.kaggle.dataset.handle import NOBODY, DatasetHandle
from kit.kaggle.dataset.manifest import (
    MANIFEST_NAME,
    Entry,
    ListedFile,
    Manifest,
    ModelSource,
    WheelSet,
    load_manifest,
)
from kit.kaggle.dataset.model_source import files_besides, model_source_of
from kit.kaggle.dataset.mounted import check_ref
from kit.kaggle.dataset.packing import Piece, pack
from kit.kaggle.dataset.restoring import ADAPTER_FOLDER, MODEL_FOLDER, NEEDS_FOLDER, TRM_FOLDER, WHEELS_FOLDER
from kit.kaggle.dataset.wheel_output import wheel_set
from kit.kaggle.dataset.writing import Record, reuse, write
from kit.kaggle.transfer import check_space
from kit.kaggle.wheels.lockfile import load_lock
from kit.lock import held

_MANIFEST_BYTES = 1 << 20  # more than any manifest has
PLACEHOLDER = DatasetHandle(owner=NOBODY)
"""What dataset-metadata.json says where nobody has said whose the dataset is; `upload` writes its own."""


@dataclass(frozen=True, slots=True)
class Wheelhouse:
    """A folder of fetched wheels, and the lock that names those which enter.

    source: the notebook, `owner/slug`, whose output holds the wheels; then of these the lock alone enters.
    """

    lock: Path
    folder: Path
    source: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """The arguments of `build`."""

    model: Path | None
    model_source: str | None
    listing: tuple[ListedFile, ...]
    model_files: tuple[Path, ...]
    trm: Path | None
    adapter: Path | None
    wheels: Wheelhouse | None
    needs: Wheelhouse | None
    metadata: DatasetHandle


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
    *,
    model: Path | None = None,
    model_source: str | None = None,
    listing: Sequence[ListedFile] = (),
    model_files: Sequence[Path] = (),
    trm: Path | None = None,
    adapter: Path | None = None,
    wheels: Wheelhouse | None = None,
    needs: Wheelhouse | None = None,
    metadata: DatasetHandle = PLACEHOLDER,
    kit_wheel: Path | None = None,
    on_bytes: Callable[[int, int], None] = lambda num_bytes, total_bytes: None,
) -> Bundle:
    """Write the dataset into `out`, replacing an earlier build.

    model: a Hugging Face folder; enters, unless `model_source` names the same model as a Kaggle Model
    (`owner/model/framework/variation/version`), which is then attached to the notebook instead; then the folder only
    tells what that is to hold. listing: what Kaggle says that it holds; files of the folder that it lacks enter, and
    without a listing all but the weights.
    model_files: single files that enter the model's folder, in the place of its own of the same names.
    trm: a recursive model for this very `model`, as kit.trm saves it. adapter: a LoRA for it, as peft saves it; not
    both.
    needs: what the kit itself needs, of pure Python; without it the image must have it, which Kaggle's has not.
    metadata: what dataset-metadata.json says, for whoever uploads with Kaggle's own command.
    kit_wheel: the kit's own wheel, for who has it; else it is built.
    on_bytes: told, from any thread, how many more bytes are there, and of how many in all.
    Raises: MissingError or InputError for a model or wheel that could not be used, a secret, or what is too large for
    Kaggle; InputError if `out` holds anything but a build; StorageError if it cannot be written.
    """
    plan = _Plan(
        model=model,
        model_source=model_source,
        listing=tuple(listing),
        model_files=tuple(model_files),
        trm=trm,
        adapter=adapter,
        wheels=wheels,
        needs=needs,
        metadata=metadata,
    )
    _check_plan(plan)
    _check_out(out)
    with tempfile.TemporaryDirectory() as scratch:
        wheel = kit_wheel or build_wheel(Path(scratch))
        check_kit_wheel(wheel)
        contents = Contents((source_of(wheel.name, wheel),)) + _contents(plan)
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


def _check_plan(plan: _Plan) -> None:
    if plan.model is None and plan.model_source is None:
        raise InputError("no model: name a folder with --model, or a Kaggle Model with --model-source")
    if plan.model_source is not None:
        check_ref(plan.model_source)
    if plan.model is not None:
        check_model_folder(plan.model)
        check_tokenizer_files(plan.model)
    if plan.adapter is not None:
        _check_adapter(plan.adapter, plan)
    if plan.trm is not None:
        if plan.model is None:
            raise InputError(f"{plan.trm}: a TRM is checked against its model; name that with --model, too")
        check_trm(plan.trm, plan.model)


def _check_adapter(adapter: Path, plan: _Plan) -> None:
    if plan.trm is not None:
        raise InputError(f"a TRM belongs to its model as it is; name either {plan.trm} or {adapter}")
    if plan.model is None:
        raise InputError(f"{adapter}: an adapter is checked against its model; name that with --model, too")
    check_adapter(adapter, plan.model)


def check_trm(trm: Path, model: Path) -> None:
    """Refuse what the engine would refuse at the competition's start: a damaged TRM, or one of another model.

    Reads all weights; torch, which takes seconds, is imported for any but the shipped pair.
    Raises: MissingError or InputError.
    """
    check_model_folder(trm)
    if assets.is_shipped_pair(trm, model):
        return
    try:
        from kit.trm.checkpoint import check_backbone, load_alone  # here, because it loads torch
    except ModuleNotFoundError as error:
        raise MissingError(f"{trm}: {error.name} is not installed; pip install 'mathllm-kit[torch]'") from error

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
    others = present - {MANIFEST_NAME, facts.DATASET_METADATA} - {entry.file for entry in load_manifest(out).entries}
    if others:
        raise InputError(f"{out}: holds {min(others)!r}, which no build put there; move it or choose another --out")


def _contents(plan: _Plan) -> Contents:
    added = added_contents(MODEL_FOLDER, plan.model_files)
    contents = added
    if plan.model is not None:
        names, whole = {source.path for source in added.sources}, model_contents(MODEL_FOLDER, plan.model)
        sources = whole.sources if plan.model_source is None else files_besides(whole.sources, plan.listing)
        contents += replace(whole, sources=tuple(each for each in sources if each.path not in names))
    if plan.trm is not None:
        contents += model_contents(TRM_FOLDER, plan.trm)
    if plan.adapter is not None:
        contents += model_contents(ADAPTER_FOLDER, plan.adapter)
    for folder, wheels in ((NEEDS_FOLDER, plan.needs), (WHEELS_FOLDER, plan.wheels)):
        if wheels is not None and wheels.source is not None:
            contents += Contents((source_of(f"{folder}/{wheels.lock.name}", wheels.lock),))
        elif wheels is not None:
            contents += wheel_contents(folder, load_lock(wheels.lock), wheels.lock, wheels.folder)
    return contents


def _build(out: Path, plan: _Plan, pieces: Sequence[Piece], on_bytes: Callable[[int, int], None]) -> Bundle:
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


def _finish(folder: Path, plan: _Plan, entries: tuple[Entry, ...]) -> Manifest:
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


def _model_source(plan: _Plan, ref: str) -> ModelSource:
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
