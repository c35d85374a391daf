"""A LoRA adapter merged into the model that it was trained on: peft's folder in, a plain model out.

peft itself only warns of tensors that it finds no place for, and an adapter of another model may fit by chance in a few
layers; so names and shapes are compared first.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kit.engines.text.adapter_folder import CONFIG, WEIGHTS, check_adapter_folder, other_model, sides
from kit.engines.transformers.loading import LOADING_ERRORS
from kit.errors import InputError, MissingError
from kit.safetensors_header import read_header


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


def _check_fits(model: Any, folder: Path) -> None:
    """Compare the layers that the adapter changes with those of the model."""
    layers = dict(model.named_modules())
    for side in sides(folder):
        width = "in_features" if side.is_input else "out_features"
        expected: int | None = getattr(layers.get(side.layer), width, None)
        if expected != side.num_features:
            raise other_model(folder, side, expected)


def _check_whole(adapted: Any, folder: Path) -> None:
    """A tensor that the file lacks has its random start."""
    stored = read_header(folder / WEIGHTS).tensors
    for name, _ in adapted.named_parameters():
        saved = name.replace(".default.", ".")
        if ".lora_" in name and saved not in stored:
            raise InputError(f"the adapter in {folder} lacks {saved}, which its {CONFIG} asks for; copy it again")
