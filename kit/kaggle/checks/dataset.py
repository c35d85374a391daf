"""Is this dataset whole, can its wheels be installed and its model loaded, and is this machine fit for it?

In: a build folder, a mounted dataset, or what Kaggle made of one. Out: checks, each with its findings; a dataset is
fit if all are passed. Nothing is installed and nothing is written but links, and what lies in archives, in a scratch
folder that is deleted again. Not proved: that the model answers well, and that packages work once they are imported.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from kit.engines.text.rehearsal import LIMIT_S
from kit.engines.text.vocabulary import complete_vocabulary
from kit.errors import InputError, KitError, MissingError
from kit.json_text import read_json
from kit.kaggle.checks.listing import check_listing, check_ref_built_for
from kit.kaggle.checks.machine import Machine, check_machine, needs
from kit.kaggle.checks.model import check_adapter, check_chat, check_model, check_trm
from kit.kaggle.dataset.handle import DatasetHandle
from kit.kaggle.dataset.integrity import REBUILD, check_dataset, check_files
from kit.kaggle.dataset.manifest import MANIFEST_NAME, Entry, Manifest, ModelSource, WheelSet, load_manifest
from kit.kaggle.dataset.mounted import place_of
from kit.kaggle.dataset.restoring import (
    ADAPTER_FOLDER,
    MODEL_FOLDER,
    NEEDS_FOLDER,
    TRM_FOLDER,
    WHEELS_FOLDER,
    join_model,
    join_wheels,
    restore_files,
)
from kit.kaggle.environment import KaggleEnvironment, Mounts
from kit.kaggle.facts import DATASET_METADATA, KERNEL_VARIABLE
from kit.kaggle.findings import Check, Finding, error, lowered, warning
from kit.kaggle.transfer import sha256_of
from kit.kaggle.wheels.closure import check, damaged
from kit.kaggle.wheels.committed import KIT_TARGET
from kit.kaggle.wheels.lockfile import load_lock, lock_path
from kit.kaggle.wheels.target import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where to verify. scratch: a folder for temporary files. mounts: where Kaggle Models are attached.

    is_kaggle: whether this machine is to run the dataset; if not, what it lacks is told as warnings.
    chat_limit_s: for rendering and encoding one chat, in a process of its own; None leaves that out, which takes
    seconds.
    """

    scratch: Path
    mounts: Path
    is_kaggle: bool
    machine: Machine
    chat_limit_s: float | None = LIMIT_S


def verify_folder(
    folder: Path,
    *,
    scratch: Path,
    environ: Mapping[str, str],
    model_source: str | None = None,
    on_bytes: Callable[[int, int], None] = lambda num_bytes, total_bytes: None,
) -> tuple[Check, ...]:
    """All checks of the dataset that is in this folder, or mounted below it, for the machine that this is.

    model_source: the Kaggle Model that is going to be attached, to be compared with the one that it was built for.

    Raises: MissingError or InputError where there is no dataset, or more than one.
    """
    environment = KaggleEnvironment.detect(environ)
    is_kaggle = KERNEL_VARIABLE in environ or environment.is_rerun
    mounts = Mounts.find(folder)
    if not (mounts.datasets or is_kaggle):
        raise MissingError(f"{folder}: no dataset with a {MANIFEST_NAME}; make one with `kit build`")
    dataset = folder if (folder / MANIFEST_NAME).is_file() else mounts.dataset()
    site = Site(
        scratch=scratch,
        mounts=environment.input,
        is_kaggle=is_kaggle,
        machine=Machine.here(scratch),
    )
    checks = verify(dataset, site, on_bytes=on_bytes)
    if model_source is None:
        return checks
    found = tuple(check_ref_built_for(load_manifest(dataset), model_source))
    return (*checks, Check(name="attached", detail=model_source, findings=found))


def verify(
    dataset: Path, at: Site, *, on_bytes: Callable[[int, int], None] = lambda num_bytes, total_bytes: None
) -> tuple[Check, ...]:
    """All checks, in the order of what depends on what.

    on_bytes: told, from any thread, how many more bytes were read, and of how many in all.
    """
    try:
        manifest = load_manifest(dataset)
    except KitError as fault:
        finding = Finding.of(fault, file=str(dataset / MANIFEST_NAME), fix=REBUILD)
        return (Check(name="manifest", detail="not readable, so nothing else was checked", findings=(finding,)),)
    total_bytes = sum(entry.size_bytes for entry in manifest.entries)
    metadata = dataset / DATASET_METADATA
    is_build = metadata.is_file()  # Kaggle's client does not upload it
    found = check_dataset(
        dataset, manifest, is_build=is_build, on_bytes=lambda num_bytes: on_bytes(num_bytes, total_bytes)
    )
    findings = (*found, *(_check_metadata(metadata, manifest) if is_build else ()))
    made_by = f"kit {manifest.kit_version} at {manifest.commit[:12]}"
    detail = f"{len(manifest.entries)} files, {total_bytes:,} bytes, {made_by}"
    files = Check(name="files", detail=detail, findings=findings)
    with tempfile.TemporaryDirectory(dir=at.scratch) as scratch:
        return (files, *_check_restored(dataset, manifest, at, Path(scratch)))


def _check_metadata(metadata: Path, manifest: Manifest) -> Iterator[Finding]:
    """By the client's own rules: title, slug, one licence."""
    try:
        content = read_json(metadata.read_bytes())
        owner, slug = content["id"].split("/")
        (licence,) = content["licenses"]
        DatasetHandle(owner=owner, slug=slug, title=content["title"], licence=licence["name"])
    except InputError as fault:
        yield error(metadata, f"Kaggle's client would refuse it: {fault}", f"fix it, or {REBUILD}")
    except (ValueError, KeyError, TypeError, AttributeError) as fault:
        yield error(metadata, f"Kaggle's client cannot read it ({fault})", REBUILD)
    else:
        if manifest.metadata_sha256 not in (None, sha256_of(metadata)):
            yield warning(metadata, "it was changed after the build", "nothing to do if that was you; else build again")


def _check_restored(dataset: Path, manifest: Manifest, at: Site, scratch: Path) -> tuple[Check, ...]:
    """What can be said of the files under their own names."""
    try:
        restore_files(dataset, manifest, scratch, max_hashed_bytes=0)  # every byte was hashed already
    except KitError as fault:
        finding = Finding.of(fault, file=str(dataset), fix=REBUILD)
        return (Check(name="restored", detail="wheels and model were not looked at", findings=(finding,)),)
    num_files = len(tuple(manifest.paths()))
    checks = [Check(name="restored", detail=f"{num_files} files under their own names"), _check_needs(scratch)]
    is_joined = True
    if manifest.model_source is not None:
        attached, is_joined = _check_attached(manifest, manifest.model_source, at, scratch)
        checks.append(attached)
    if manifest.model_source is None or (is_joined and (scratch / MODEL_FOLDER / "config.json").is_file()):
        checks += _check_models(scratch, chat_limit_s=at.chat_limit_s)
    target = None
    if manifest.wheels is not None:
        wheels, target = _check_wheels(manifest.wheels, at, scratch)
        checks.append(wheels)
    else:
        detail = "none: the image must have the model's packages, or build with --wheels"
        checks.append(Check(name="wheels", detail=detail))
    packed_bytes = sum(member.size_bytes for entry in manifest.entries for member in entry.members)
    machine = check_machine(at.machine, needs(scratch, packed_bytes=packed_bytes, target=target))
    return (*checks, *(machine if at.is_kaggle else map(lowered, machine)))


def _check_attached(manifest: Manifest, source: ModelSource, at: Site, restored: Path) -> tuple[Check, bool]:
    """Whether the Kaggle Model is attached, and holds what was listed; and whether it was joined.

    Without it, what it will lack.
    """
    prefix = f"{MODEL_FOLDER}/"
    own = {path.removeprefix(prefix) for path in manifest.paths() if path.startswith(prefix)}
    try:
        join_model(manifest, source, at.mounts, restored)
    except KitError as fault:
        fix = f"add {source.ref} to the notebook's inputs"
        check = Check(name="Kaggle Model", detail=source.ref, findings=(Finding.of(fault, file=source.ref, fix=fix),))
        check = check if at.is_kaggle else lowered(check)
        return replace(check, findings=(*check.findings, *check_listing(source, own))), False
    fix = f"attach {source.ref} itself, or build the dataset with the model that is attached"
    files = [file for file in source.files if file.sha256 is not None and file.file not in own]
    whole = [Entry(file.file, file.file, file.size_bytes, file.sha256 or "") for file in files]
    into = restored / MODEL_FOLDER
    found = check_files(into, [place_of(each, (into / each.file).resolve(), each, None, each.file) for each in whole])
    detail = f"{source.ref}, {len(files)} files compared"
    return Check(name="Kaggle Model", detail=detail, findings=tuple(replace(each, fix=fix) for each in found)), True


def _check_models(restored: Path, *, chat_limit_s: float | None) -> Iterator[Check]:
    model, trm, adapter = (restored / name for name in (MODEL_FOLDER, TRM_FOLDER, ADAPTER_FOLDER))
    complete_vocabulary(model)  # as the notebook does
    shards = sorted(model.glob("*.safetensors"))
    detail = f"{len(shards)} shards, {sum(path.stat().st_size for path in shards):,} bytes"
    found = Check(name="model", detail=detail, findings=_relative(check_model(model), restored))
    yield found
    if chat_limit_s is not None and found.is_passed:
        chat = check_chat(model, limit_s=chat_limit_s)
        yield Check(name="chat", detail="one rendered and encoded", findings=_relative(chat, restored))
    if trm.is_dir():
        yield Check(name="TRM", detail="for this very model", findings=_relative(check_trm(trm, model), restored))
    if adapter.is_dir():
        yield Check(
            name="adapter", detail="for this very model", findings=_relative(check_adapter(adapter, model), restored)
        )


def _check_needs(restored: Path) -> Check:
    """Whether the kit has all that it needs itself, which Kaggle's image has not."""
    lock_file = lock_path(restored / NEEDS_FOLDER, KIT_TARGET)
    try:
        lock = load_lock(lock_file)
    except KitError:
        problem = "the kit's own needs are not in it, and Kaggle's image has not all of them (trio, for one)"
        finding = error(NEEDS_FOLDER, problem, "build the dataset again with `kit build`, and upload it again")
        return Check(name="needs", detail="none", findings=(finding,))
    findings = tuple(error(lock_file.name, fault, REBUILD) for fault in damaged(lock, lock_file.parent))
    return Check(
        name="needs", detail=f"{len(lock.wheels)} wheels of pure Python, for the kit itself", findings=findings
    )


def _check_wheels(wheels: WheelSet, at: Site, restored: Path) -> tuple[Check, Target | None]:
    """Whether the wheels alone are enough for an install; and what they are for. Attached ones are joined first."""
    if wheels.source is not None:
        try:
            join_wheels(wheels, at.mounts, restored, max_hashed_bytes=0)
        except KitError as fault:
            fix = f"`kit push-wheels --target {wheels.target}`, and attach the output of {wheels.source}"
            told = f"those of {wheels.source} are not attached"
            absent = Check(name="wheels", detail=told, findings=(Finding.of(fault, file=wheels.source, fix=fix),))
            return (absent if at.is_kaggle else lowered(absent)), None
    try:
        lock = load_lock(restored / wheels.lock)
    except KitError as fault:
        finding = Finding.of(fault, file=wheels.lock, fix=REBUILD)
        return Check(name="wheels", detail=wheels.target, findings=(finding,)), None
    closure = check(lock, restored / WHEELS_FOLDER)
    fix = f"`kit wheels lock --target {wheels.target}`, then fetch, and build the dataset again"
    findings = tuple(error(wheels.lock, fault, fix) for fault in closure.faults)
    detail = f"{len(lock.wheels)} for {wheels.target}; asked: {closure.witness}"
    return Check(name="wheels", detail=detail, findings=findings), lock.target


def _relative(findings: Iterable[Finding], restored: Path) -> tuple[Finding, ...]:
    """Findings that name files as the user knows them, not in the folder they were restored to."""
    prefix = f"{restored}/"
    return tuple(
        replace(each, file=each.file.removeprefix(prefix), problem=each.problem.replace(prefix, ""))
        for each in findings
    )
