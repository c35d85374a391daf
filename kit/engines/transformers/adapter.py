"""A LoRA adapter merged into the model that it was trained on: peft's folder in, a plain model out.

peft itself only warns of tensors that it finds no place for, and an adapter of another model may fit by chance in a few
layers; so names and shapes are compared first. Pickled adapters are refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kit.engines.transformers.loading import LOADING_ERRORS
from kit.errors import InputError, MissingError
from kit.safetensors_header import read_header

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
_PREFIX = "base_model.model."  # of every tensor that peft saves
_SIDES = {".lora_A.weight": 1, ".lora_B.weight": 0}  # which axis of it is the layer's input, or its output


def merge_adapter(model: Any, folder: Path) -> Any:
    """The model with the adapter's change in its weights, in eval mode; `model` itself is used up.

    Raises: MissingError for a folder without an adapter, or a machine without peft; InputError for an adapter of
        another model.
    """
    check_adapter_folder(folder)
    _check_fits(model, folder)
    try:
        import peft
    except ModuleNotFoundError as error:
        raise MissingError(f"no adapters: {error.name} is not installed; pip install 'mathllm-kit[train]'") from error
    try:
        adapted = peft.PeftModel.from_pretrained(model, str(folder))
    except LOADING_ERRORS as error:
        raise InputError(f"peft cannot load the adapter in {folder}: {error}") from error
    _check_whole(adapted, folder)
    return adapted.merge_and_unload().eval()


def check_adapter_folder(folder: Path) -> None:
    """Raise MissingError unless the folder holds what peft saved, with safetensors."""
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise MissingError(f"no adapter in {folder}: {name} is missing; expected what peft's save_pretrained wrote")


def _check_fits(model: Any, folder: Path) -> None:
    """Compare the layers that the adapter changes with those of the model."""
    layers = dict(model.named_modules())
    for name, entry in read_header(folder / WEIGHTS).tensors.items():
        side = next((suffix for suffix in _SIDES if name.endswith(suffix)), None)
        if side is None:
            continue  # what else peft saves, it compares itself
        layer = layers.get(name.removeprefix(_PREFIX).removesuffix(side))
        expected = _num_features(layer, side)
        found = entry["shape"][_SIDES[side]]
        if expected != found:
            known = "has no such layer" if expected is None else f"has {expected} features there"
            raise InputError(
                f"the adapter in {folder} belongs to another model: {name} is for {found} features, and this model "
                f"{known}; name the model that it was trained on"
            )


def _num_features(layer: Any, side: str) -> int | None:
    """How wide a linear layer is at that side; None for what is none."""
    width: int | None = getattr(layer, "in_features" if side == ".lora_A.weight" else "out_features", None)
    return width


def _check_whole(adapted: Any, folder: Path) -> None:
    """A tensor that the file lacks has its random start."""
    stored = read_header(folder / WEIGHTS).tensors
    for name, _ in adapted.named_parameters():
        saved = name.replace(".default.", ".")
        if ".lora_" in name and saved not in stored:
            raise InputError(f"the adapter in {folder} lacks {saved}, which its {CONFIG} asks for; copy it again")
