"""The file of tokens that gpt-oss's Harmony format needs, made from the model's own tokenizer.json where it is missing.

Kaggle Models of gpt-oss lack `o200k_base.tiktoken`, and without it vLLM fetches it from the internet. It says nothing
that tokenizer.json does not: each token's bytes in base64, and its number. In: a model folder. Out: the same folder
with the file, if its SHA-256 is the one that Harmony expects.
"""

from __future__ import annotations

import base64
import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path

from kit.engines.text.model_folder import read_config
from kit.errors import KitError
from kit.json_text import read_json
from kit.models.gpt_oss import VOCABULARY
from kit.whole_file import written_whole

log = logging.getLogger(__name__)


def complete_vocabulary(folder: Path, *, expected: tuple[str, str] = VOCABULARY) -> None:
    """Write the file into a folder of gpt-oss that lacks it; takes three seconds. Logs where it cannot be made.

    expected: its name, and its SHA-256.
    Raises: StorageError.
    """
    name, sha256 = expected
    if (folder / name).exists() or not _is_gpt_oss(folder):
        return
    try:
        content = tiktoken_file(read_json((folder / "tokenizer.json").read_bytes())["model"]["vocab"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        log.error("%s: %s cannot be made from it (%r)", folder / "tokenizer.json", name, error)
        return
    if hashlib.sha256(content).hexdigest() != sha256:
        log.error("%s: not the vocabulary that Harmony expects, so %s is not made from it", folder, name)
        return
    with written_whole(folder / name) as path:
        path.write_bytes(content)


def tiktoken_file(vocabulary: Mapping[str, int]) -> bytes:
    """A byte-level vocabulary as tiktoken has it: a line a token, by number.

    Raises: KeyError for a token that is not of bytes.
    """
    letters = _bytes_of_letters()
    tokens = sorted((number, bytes(letters[letter] for letter in token)) for token, number in vocabulary.items())
    return b"".join(b"%s %d\n" % (base64.b64encode(token), number) for number, token in tokens)


def _bytes_of_letters() -> dict[str, int]:
    """The byte that each letter of a byte-level token stands for: printable ones themselves, others from U+0100 on.

    Source: `bytes_to_unicode` of GPT-2's encoder.py, which all such tokenizers follow.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + place): byte for place, byte in enumerate(others)}


def _is_gpt_oss(folder: Path) -> bool:
    try:
        return read_config(folder).get("model_type") == "gpt_oss"
    except KitError:  # told where the model is loaded
        return False
