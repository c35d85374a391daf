"""What each method trains in a backbone, by which loss, and how its result is saved in the format that the field loads.

    trm       a Tiny Recursive Model over the frozen backbone      a folder of kit.trm.checkpoint
    finetune  the backbone's last layers                           a plain Hugging Face folder
    lora      low-rank adapters of the linear layers               a peft adapter

In: a loaded backbone and settings. Out: a prepared method, and its objective. It runs no training.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kit.engines.text.model_folder import told_dtype
from kit.errors import InputError
from kit.training.cut_backbone import CutBackbone, cut
from kit.training.depth_schedule import Curriculum, DepthSchedule, UniformDepth
from kit.training.language import LanguageObjective
from kit.training.loop import Objective
from kit.training.recursive import RecursiveObjective, RecursiveWeights
from kit.training.rows import Rows
from kit.training.settings import TrainSettings
from kit.trm import checkpoint as trm_checkpoint
from kit.trm.config import TRMConfig
from kit.trm.language_model import RecursiveLM
from kit.trm.model import TinyRecursiveModel

RESULTS = {"trm": "trm", "finetune": "model", "lora": "adapter"}
"""The folder of each method's result, within the run's own."""

_BESIDE_WEIGHTS = ("*.json", "*.jinja", "*.txt", "*.model")  # tokenizer and template


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """module: what is trained. backbone: the Hugging Face model that runs. save: writes the result into a folder.

    cut: the backbone, where its last layers alone are trained and can run alone.
    """

    module: nn.Module
    backbone: Any
    save: Callable[[Path], None]
    cut: CutBackbone | None = None


def prepare(backbone: Any, settings: TrainSettings) -> Prepared:
    """Freeze what the method does not train, and add what it adds; random weights come from the seed.

    Raises: InputError where the backbone does not have what was asked for.
    """
    torch.manual_seed(settings.seed)
    backbone.requires_grad_(False)
    return _PREPARE[settings.method](backbone, settings)


def objective_of(settings: TrainSettings, prepared: Prepared, rows: Rows) -> Objective[Any]:
    """The loss that the method lowers on these rows.

    Raises: InputError for a curriculum where no row tells its steps.
    """
    if settings.method != "trm":
        return LanguageObjective(module=prepared.module, language_model=prepared.backbone, cut=prepared.cut)
    with_grad = None if settings.with_grad is None else min(settings.with_grad, settings.depths[1])
    return RecursiveObjective(
        trm=prepared.module,  # type: ignore[arg-type]  # the method trm's is one
        lm_head=prepared.backbone.get_output_embeddings(),
        depths=_depths(settings, rows),
        weights=RecursiveWeights(kl=settings.kl, halting=settings.halting, with_grad=with_grad),
        num_supervision=settings.N_supervision,
        offload=settings.gradient_accumulation > 1,
    )


def _depths(settings: TrainSettings, rows: Rows) -> DepthSchedule:
    least, most = settings.depths
    if settings.T_spread != "curriculum":
        return UniformDepth(least=least, most=most)
    if rows.steps is None:
        raise InputError(
            f"--T_spread curriculum: no example of {settings.dataset} tells its steps; it needs a column `steps` or "
            "GSM8K's calculator marks, and --answers at_once"
        )
    last = settings.T_recursion
    afterwards = UniformDepth(least=last, most=most)
    return Curriculum(first=1, last=last, measures=("reached/{t}", "held/{t}"), afterwards=afterwards)


def _prepare_trm(backbone: Any, settings: TrainSettings) -> Prepared:
    config = TRMConfig.for_backbone(
        backbone.config,
        form=settings.form,
        feature_layers=settings.feature_layers,
        whitened=settings.whiten,
        num_latent=settings.num_latent,
        depth=settings.T_recursion,
        num_supervision=settings.N_supervision,
    )
    trm = TinyRecursiveModel(config).to(backbone.device)
    RecursiveLM(backbone, trm)  # checks that they fit

    def save(folder: Path) -> None:
        trm_checkpoint.save(trm, folder, backbone_folder=settings.model)

    return Prepared(module=trm.train(), backbone=backbone, save=save)


def _prepare_finetune(backbone: Any, settings: TrainSettings) -> Prepared:
    last = _last_layers(backbone, "n_layers", settings.n_layers)
    # a trained head may be the embedding, too
    in_two = cut(backbone.base_model, settings.n_layers) if settings.freeze_lm_head else None
    for layer in last:
        _trainable_in_float32(layer)
    if not settings.freeze_lm_head:
        _trainable_in_float32(backbone.get_output_embeddings())

    def save(folder: Path) -> None:
        backbone.to(_dtype_of(settings.model)).save_pretrained(folder)
        for pattern in _BESIDE_WEIGHTS:
            for file in settings.model.glob(pattern):
                if not (folder / file.name).exists() and not file.name.endswith(".index.json"):
                    shutil.copyfile(file, folder / file.name)

    return Prepared(module=backbone, backbone=backbone, save=save, cut=in_two)


def _prepare_lora(backbone: Any, settings: TrainSettings) -> Prepared:
    from peft import LoraConfig, get_peft_model

    adapted_modules = _lora_modules(backbone, settings.lora_layers)
    config = LoraConfig(r=settings.rank, lora_alpha=2 * settings.rank, task_type="CAUSAL_LM", **adapted_modules)
    wrapped = get_peft_model(backbone, config)
    wrapped.peft_config["default"].base_model_name_or_path = settings.model.name  # a path of this machine leaks

    def save(folder: Path) -> None:
        wrapped.save_pretrained(folder, save_embedding_layers=False)  # "auto" asks the hub for the base's config
        (folder / "README.md").unlink(missing_ok=True)  # template text of peft's

    adapted = wrapped.get_base_model()
    in_two = cut(adapted.base_model, settings.lora_layers) if settings.lora_layers else None
    return Prepared(module=wrapped, backbone=adapted, save=save, cut=in_two)


def _lora_modules(backbone: Any, lora_layers: int | None) -> dict[str, Any]:
    """Which modules get an adapter, as peft is told: all linear ones, or those of the last layers."""
    if lora_layers is None:
        return {"target_modules": "all-linear"}
    last = _last_layers(backbone, "lora_layers", lora_layers)
    linear = {name for layer in last for name, each in layer.named_modules() if isinstance(each, nn.Linear)}
    num_layers = len(backbone.base_model.layers)
    return {
        "target_modules": sorted({name.rpartition(".")[2] for name in linear}),
        "layers_to_transform": list(range(num_layers - lora_layers, num_layers)),
    }


def _last_layers(backbone: Any, name: str, number: int) -> Any:
    """So many of the backbone's last layers. Raises: InputError where it has fewer."""
    layers = backbone.base_model.layers
    if number > len(layers):
        raise InputError(f"{name} must be at most {len(layers)}, the backbone's, got {number}")
    return layers[-number:]


_PREPARE: dict[str, Callable[[Any, TrainSettings], Prepared]] = {
    "trm": _prepare_trm,
    "finetune": _prepare_finetune,
    "lora": _prepare_lora,
}


def _trainable_in_float32(module: nn.Module) -> None:
    """Master weights: whatever the products are computed in, updates are too small for bfloat16."""
    module.to(torch.float32).requires_grad_(True)


def _dtype_of(folder: Path) -> torch.dtype:
    """The dtype of a model folder's weights, as its config says; float32 where it does not."""
    dtype: torch.dtype = getattr(torch, told_dtype(folder) or "float32")
    return dtype
