"""A LoRA adapter's folder, as peft saves it, read and checked without torch: its config and the shapes of its tensors.

The name of its base that the config holds is only a name, so layers and shapes are compared. Pickled adapters are
refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit.engines.text.model_folder import check_safetensors, read_object, weight_files
from kit.errors import InputError, MissingError
from kit.safetensors_header import read_header

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"

_PREFIX = "base_model.model."  # of every tensor that peft saves
_INPUT, _OUTPUT = ".lora_A.weight", ".lora_B.weight"
_FLOATS = ("F", "BF")  # a quantised weight is packed, so its shape is another


@dataclass(frozen=True, slots=True, kw_only=True)
class LowRankSide:
    """One of the two matrices that change a layer: A from its input, or B to its output.

    layer: its name in the base model. num_features: of the layer at that side.
    """

    tensor: str
    layer: str
    is_input: bool
    num_features: int
    rank: int


def check_adapter_folder(folder: Path) -> None:
    """Raise MissingError unless the folder holds what peft saved, with safetensors; InputError for a damaged one."""
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise MissingError(f"no adapter in {folder}: {name} is missing; {_likely_fix(folder)}")
    check_safetensors(folder / WEIGHTS)
    kind = adapter_config(folder).get("peft_type")
    if kind != "LORA" or not any(sides(folder)):
        raise InputError(f"the adapter in {folder} is no LoRA (peft_type {kind!r}); merge it into a model of its own")


def check_adapter(folder: Path, model: Path) -> None:
    """Refuse an adapter of another model by the headers of both; no weight is read.

    A layer of a kind that the model's files do not name is left to the loader, since some checkpoints hold their layers
    under other names, or packed.
    Raises: as `check_adapter_folder`; InputError for layers or shapes that the model does not have.
    """
    check_adapter_folder(folder)
    shapes = _shapes(model)
    kinds = {_kind(name) for name in shapes}
    num_known = 0
    for side in sides(folder):
        name = _from_layers_on(side.layer)
        if name not in shapes and _kind(name) not in kinds:
            continue
        num_known += 1
        expected = shapes[name][1 if side.is_input else 0] if name in shapes else None
        if name not in shapes or expected not in (None, side.num_features):
            raise other_model(folder, side, expected)
    if not num_known:
        raise other_model(folder, next(sides(folder)), None)


def other_model(folder: Path, side: LowRankSide, expected: int | None) -> InputError:
    """The error for a side that does not fit. expected: the features that the model has there; None: no such layer."""
    known = "has no such layer" if expected is None else f"has {expected} features there"
    return InputError(
        f"the adapter in {folder} belongs to another model: {side.tensor} is for {side.num_features} features, and "
        f"this model {known}; name the model that it was trained on"
    )


def adapter_config(folder: Path) -> dict[str, Any]:
    """What peft wrote of the adapter.

    Raises: InputError for what is no JSON object.
    """
    return read_object(folder / CONFIG)


def sides(folder: Path) -> Iterator[LowRankSide]:
    """Every matrix of the adapter that changes a linear layer; whatever else peft saves is not among them."""
    for name, entry in read_header(folder / WEIGHTS).tensors.items():
        suffix = next((each for each in (_INPUT, _OUTPUT) if name.endswith(each)), None)
        if suffix is not None:
            first, last = entry["shape"]
            is_input = suffix == _INPUT
            yield LowRankSide(
                tensor=name,
                layer=name.removeprefix(_PREFIX).removesuffix(suffix),
                is_input=is_input,
                num_features=last if is_input else first,
                rank=first if is_input else last,
            )


def largest_rank(folder: Path) -> int:
    """The largest rank in the adapter; layers may have different ones."""
    return max(side.rank for side in sides(folder))


def _likely_fix(folder: Path) -> str:
    """What the folder seems to be instead."""
    if (folder / "adapter" / CONFIG).is_file():
        return f"did you mean {folder / 'adapter'}?"
    if (folder / "adapter_model.bin").is_file():
        return "its weights are pickled; load it by peft and save it again, with safetensors"
    if (folder / "config.json").is_file() and any(folder.glob("*.safetensors")):
        return "it holds a whole model, such as a full fine-tune: name it as the model, without an adapter"
    return "expected what peft's save_pretrained wrote"


def _shapes(model: Path) -> dict[str, tuple[int | None, int | None]]:
    """Every layer with a matrix by its name from `layers.` on: its outputs and inputs, None where it is packed."""
    shapes: dict[str, tuple[int | None, int | None]] = {}
    for file in weight_files(model):
        for name, entry in read_header(model / file).tensors.items():
            layer = _from_layers_on(name.rpartition(".")[0])
            shapes.setdefault(layer, (None, None))
            match entry:
                case {"shape": [outputs, inputs], "dtype": dtype} if dtype.startswith(_FLOATS):
                    shapes[layer] = (outputs, inputs)
    return shapes


def _from_layers_on(name: str) -> str:
    """A layer's name without what wraps the stack: `model.layers.0.mlp` and `language_model.layers.0.mlp` are one."""
    return name[found.start() :] if (found := re.search(r"\blayers\.\d", name)) else name


def _kind(layer: str) -> str:
    """The name without its numbers."""
    return re.sub(r"\b\d+\b", "*", layer)
