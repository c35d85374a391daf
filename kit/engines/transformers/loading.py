"""Opening a local model folder, whose files are checked first.

In: a folder in Hugging Face's layout. Out: a model. No network, no remote code, no pickles: weights are
safetensors only.
"""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM
from transformers.utils.logging import disable_progress_bar

from kit.engines.text.model_folder import auto_dtype, check_model_folder
from kit.errors import EngineError, InputError, did_you_mean, out_of_memory_as

DEVICES = ("cpu", "cuda", "auto")
DTYPES = ("auto", "float32", "bfloat16", "float16", "float64")

# What transformers and safetensors raise for folders they cannot make sense of.
LOADING_ERRORS = (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError)


def load_model(folder: Path, *, device: str, dtype: str) -> Any:
    """Load a causal language model in eval mode. dtype: of DTYPES; see kit.engines.text.model_folder for "auto".

    Raises: MissingError, InputError; EngineError where memory does not suffice.
    """
    _check_choice("dtype", dtype, DTYPES)
    target = resolve_device(device)
    check_model_folder(folder)
    if dtype == "auto":
        dtype = auto_dtype(folder, device=target.type)
    if not sys.stderr.isatty():
        disable_progress_bar()  # else transformers draws one into the log
    with explained_memory():
        model, info = _loaded(folder, dtype)
        model = model.to(target)
    if info["missing_keys"]:
        # transformers fills these with random numbers and only warns
        raise InputError(
            f"the weights in {folder} lack {len(info['missing_keys'])} tensors of its config.json, among "
            f"them {min(info['missing_keys'])!r}; copy the whole model again"
        )
    return model.eval()


def _loaded(folder: Path, dtype: str) -> tuple[Any, Any]:
    try:
        model, info = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype if dtype == "auto" else getattr(torch, dtype),
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
        )
    except LOADING_ERRORS as error:
        raise InputError(f"transformers cannot load the model in {folder}: {error}") from error
    return model, info


def explained_memory() -> AbstractContextManager[None]:
    """Says what to do where a model does not fit into the memory that others leave: an EngineError."""
    return out_of_memory_as(
        lambda words: EngineError(
            "out of memory while loading the model: end what else holds memory, take a smaller model, or half the "
            f"bytes of each weight (--set engine.dtype=bfloat16; kit train: --bf16) ({words})"
        )
    )


def resolve_device(device: str) -> torch.device:
    """The device of that name; `auto` is the GPU where there is one.

    Raises: InputError for another name, or for `cuda` where torch sees no GPU.
    """
    _check_choice("device", device, DEVICES)
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("device='cuda' but torch sees no GPU; use device='cpu' or switch the GPU on")
    is_cuda = device != "cpu" and torch.cuda.is_available()
    return torch.device("cuda" if is_cuda else "cpu")


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        hint = did_you_mean(value, choices)
        raise InputError(f"{name} must be one of {', '.join(choices)}, got {value!r}" + (f"; {hint}" if hint else ""))
