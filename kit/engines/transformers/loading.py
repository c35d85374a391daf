"""Opening a local model folder, whose files are checked first.

In: a folder in Hugging Face's layout. Out: a model and a tokenizer. No network, no remote code, no pickles: weights are
safetensors only.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast
from transformers.utils.logging import disable_progress_bar

from kit.engines.text.model_folder import auto_dtype, check_model_folder, check_tokenizer_files
from kit.errors import InputError, did_you_mean

DEVICES = ("cpu", "cuda", "auto")
DTYPES = ("auto", "float32", "bfloat16", "float16", "float64")

# What transformers and safetensors raise for folders they cannot make sense of.
LOADING_ERRORS = (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError)


def load_model(folder: Path, *, device: str, dtype: str) -> Any:
    """Load a causal language model in eval mode. dtype: of DTYPES; see kit.engines.text.model_folder for "auto".

    Raises: MissingError, InputError.
    """
    _check_choice("dtype", dtype, DTYPES)
    target = _resolve_device(device)
    check_model_folder(folder)
    if dtype == "auto":
        dtype = auto_dtype(folder, device=target.type)
    if not sys.stderr.isatty():
        disable_progress_bar()  # else transformers draws one into the log
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
    if info["missing_keys"]:
        # transformers fills these with random numbers and only warns
        raise InputError(
            f"the weights in {folder} lack {len(info['missing_keys'])} tensors of its config.json, among "
            f"them {min(info['missing_keys'])!r}; copy the whole model again"
        )
    return model.to(target).eval()


def load_tokenizer(folder: Path) -> Any:
    """Load the tokenizer of a model folder, exactly as its tokenizer.json says.

    AutoTokenizer (5.19) goes by the model's type: it silently gives every qwen2 folder Qwen2's normaliser and
    pre-tokenizer, which changes the token ids.
    Raises: MissingError, InputError.
    """
    check_tokenizer_files(folder)
    has_whole = (folder / "tokenizer.json").is_file()
    kind = PreTrainedTokenizerFast if has_whole else AutoTokenizer
    try:
        return kind.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    # broad, since tokenizers raises a bare Exception for a damaged tokenizer.json
    except Exception as error:
        raise InputError(f"transformers cannot load the tokenizer in {folder}: {error}") from error


def _resolve_device(device: str) -> torch.device:
    _check_choice("device", device, DEVICES)
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("device='cuda' but torch sees no GPU; use device='cpu' or switch the GPU on")
    is_cuda = device != "cpu" and torch.cuda.is_available()
    return torch.device("cuda" if is_cuda else "cpu")


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        hint = did_you_mean(value, choices)
        raise InputError(f"{name} must be one of {', '.join(choices)}, got {value!r}" + (f"; {hint}" if hint else ""))
