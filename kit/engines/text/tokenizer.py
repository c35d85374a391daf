"""Opening the tokenizer of a local model folder, whose files are checked first.

In: a folder in Hugging Face's layout. Out: a tokenizer. No network, no remote code, and no torch where the folder has a
tokenizer.json: that takes a fifth of the time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kit.engines.text.model_folder import check_tokenizer_files
from kit.errors import InputError


def load_tokenizer(folder: Path) -> Any:
    """Load the tokenizer of a model folder, exactly as its tokenizer.json says.

    AutoTokenizer (5.19) goes by the model's type: it silently gives every qwen2 folder Qwen2's normaliser and
    pre-tokenizer, which changes the token ids.
    Raises: MissingError, InputError.
    """
    check_tokenizer_files(folder)
    try:
        return _kind(folder).from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    # broad, since tokenizers raises a bare Exception for a damaged tokenizer.json
    except Exception as error:
        raise InputError(f"transformers cannot load the tokenizer in {folder}: {error}") from error


def _kind(folder: Path) -> Any:
    if (folder / "tokenizer.json").is_file():
        from transformers import PreTrainedTokenizerFast

        return PreTrainedTokenizerFast
    from transformers import AutoTokenizer  # it loads torch

    return AutoTokenizer
