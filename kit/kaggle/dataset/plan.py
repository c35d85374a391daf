"""What a dataset is to hold: a model or the name of one, what runs on it, and wheels; checked, and as files that enter.

In: what the user named. Out: a plan, refused before anything is written if it could not run; and its contents.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from kit import assets
from kit.engines.text.adapter_folder import check_adapter
from kit.engines.text.model_folder import check_model_folder, check_tokenizer_files
from kit.errors import InputError, MissingError
from kit.kaggle.dataset.contents import Contents, added_contents, model_contents, source_of, wheel_contents
from kit.kaggle.dataset.handle import NOBODY, DatasetHandle
from kit.kaggle.dataset.manifest import ListedFile
from kit.kaggle.dataset.model_source import files_besides
from kit.kaggle.dataset.mounted import check_ref
from kit.kaggle.dataset.restoring import ADAPTER_FOLDER, MODEL_FOLDER, NEEDS_FOLDER, TRM_FOLDER, WHEELS_FOLDER
from kit.kaggle.wheels.lockfile import load_lock

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
class DatasetPlan:
    """What a dataset is to hold.

    model: a Hugging Face folder; enters, unless `model_source` names the same model as a Kaggle Model
    (`owner/model/framework/variation/version`), which is then attached to the notebook instead; then the folder only
    tells what that is to hold. listing: what Kaggle says that it holds; files of the folder that it lacks enter, and
    without a listing all but the weights.
    model_files: single files that enter the model's folder, in the place of its own of the same names.
    trm: a recursive model for this very `model`, as kit.trm saves it. adapter: a LoRA for it, as peft saves it; not
    both.
    needs: what the kit itself needs, of pure Python; without it the image must have it, which Kaggle's has not.
    metadata: what dataset-metadata.json says, for whoever uploads with Kaggle's own command.
    """

    model: Path | None = None
    model_source: str | None = None
    listing: tuple[ListedFile, ...] = ()
    model_files: tuple[Path, ...] = ()
    trm: Path | None = None
    adapter: Path | None = None
    wheels: Wheelhouse | None = None
    needs: Wheelhouse | None = None
    metadata: DatasetHandle = PLACEHOLDER


def check_plan(plan: DatasetPlan) -> None:
    """Refuse a model, TRM or adapter that could not be loaded. Raises: MissingError or InputError."""
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


def _check_adapter(adapter: Path, plan: DatasetPlan) -> None:
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


def contents_of(plan: DatasetPlan) -> Contents:
    """All that enters but the kit's own wheel."""
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
