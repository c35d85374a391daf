"""A model folder in Hugging Face's layout, read and checked without torch: config, tokenizer, chat template, weights.

Errors name the file. Of the weights only headers are read.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from kit.errors import InputError, MissingError
from kit.json_text import read_json
from kit.models.facts import ModelFacts
from kit.safetensors_header import read_header

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
# As the kernel names it on x86 (matrix products in tiles, dot products of vectors) and on ARM.
_MULTIPLIES_BFLOAT16 = {"amx_bf16", "avx512_bf16", "bf16"}
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")


def check_tokenizer_files(folder: Path) -> None:
    """Check that a tokenizer lies in the folder.

    Raises: MissingError.
    """
    _check_folder(folder)
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        raise MissingError(f"no tokenizer in {folder}; expected one of {', '.join(TOKENIZER_FILES)} beside the weights")


def check_model_folder(folder: Path) -> None:
    """Check config and weights without loading them; reads headers only.

    Raises: MissingError, InputError naming the file.
    """
    _check_folder(folder)
    read_config(folder)
    for name in weight_files(folder):
        if not (folder / name).is_file():
            raise MissingError(f"weights file {folder / name} is missing; {INDEX} lists it, copy it again")
        check_safetensors(folder / name)


def read_config(folder: Path) -> dict[str, Any]:
    """A model folder's config.json.

    Raises: MissingError, InputError naming it.
    """
    return read_object(folder / "config.json")


def told_dtype(folder: Path) -> str | None:
    """The dtype of a folder's weights as its config says it, such as `bfloat16`; None where it does not.

    Raises: as `read_config`.
    """
    config = read_config(folder)
    told = config.get("dtype") or config.get("torch_dtype")
    return None if told is None else str(told)


def auto_dtype(folder: Path, *, device: str, cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """What `auto` stands for: a GPU's is the checkpoint's; a CPU's is float32, which every CPU is quick in, unless the
    checkpoint is in bfloat16 and the CPU multiplies in it.

    device: "cpu" or "cuda". cpuinfo: the kernel's list of what the CPU can do. Measured on a CPU without:
    benchmarks/results/engine_batching.md.
    Raises: as `read_config`.
    """
    told = told_dtype(folder)
    if device != "cpu" or told == "float64":
        return told or "auto"
    flags = set(cpuinfo.read_text(encoding="utf-8", errors="replace").split()) if cpuinfo.is_file() else set()
    return "bfloat16" if told == "bfloat16" and flags & _MULTIPLIES_BFLOAT16 else "float32"


def read_chat_template(folder: Path) -> str:
    """A model folder's chat template; empty without one.

    Raises: InputError for a damaged tokenizer_config.json.
    """
    path, config = folder / "chat_template.jinja", folder / "tokenizer_config.json"
    if path.is_file():
        return path.read_text(encoding="utf-8")
    template = read_object(config).get("chat_template") if config.is_file() else None
    return template if isinstance(template, str) else ""


def read_facts(folder: Path) -> ModelFacts:
    """The small files of a model's folder: config.json, and generation_config.json and the chat template if they are.

    Raises: MissingError or InputError naming the file.
    """
    generation = folder / "generation_config.json"
    return ModelFacts(
        config=read_config(folder),
        chat_template=read_chat_template(folder),
        generation=read_object(generation) if generation.is_file() else {},
    )


def num_parameters(folder: Path) -> int:
    """Of the weights in a folder, by their headers.

    Raises: MissingError without weights; InputError for a damaged file.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise MissingError(f"no .safetensors file in {folder}; expected a folder of weights")
    shapes = (entry["shape"] for path in files for entry in read_header(path).tensors.values())
    return sum(map(math.prod, shapes))


def check_chat_template(folder: Path) -> None:
    """Check that chats can be written for the model.

    Raises: MissingError without the folder; InputError without a chat template.
    """
    _check_folder(folder)
    config = folder / "tokenizer_config.json"
    files = [*folder.glob("chat_template.*"), *folder.glob("additional_chat_templates/*")]
    if not files and not (config.is_file() and read_object(config).get("chat_template")):
        raise InputError(
            f"{folder}: the tokenizer has no chat template; put a chat_template.jinja into the folder, "
            "or use an instruction-tuned model"
        )


def check_safetensors(path: Path) -> None:
    """Compare what a safetensors header promises with the size of the file.

    Raises: InputError for a file that is cut off, has bytes too many, or is no safetensors file.
    """
    size, expected = path.stat().st_size, read_header(path).file_bytes
    if size != expected:
        raise InputError(f"{path} is damaged: expected {expected} bytes, it has {size}; copy it again")


def weight_files(folder: Path) -> list[str]:
    """The names of the files that make up a model's weights.

    Raises: MissingError or InputError where the folder does not say.
    """
    if (folder / INDEX).is_file():
        weight_map = read_object(folder / INDEX).get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            raise InputError(f"{folder / INDEX} has no weight_map; copy it again")
        return sorted(set(weight_map.values()))
    if (folder / SINGLE).is_file():
        return [SINGLE]
    others = sorted(path.name for path in folder.iterdir() if path.suffix in {".bin", ".pt", ".pth", ".gguf"})
    found = f", found {', '.join(others)}: convert to safetensors" if others else ""
    raise MissingError(f"no weights in {folder}; expected {SINGLE} or {INDEX}{found}")


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file beside weights.

    Raises: MissingError, InputError naming it.
    """
    if not path.is_file():
        raise MissingError(f"{path} is missing; expected it beside the weights, copy the whole model folder")
    try:
        content = read_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON ({error}); copy it again") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} holds a {type(content).__name__}, expected a JSON object; copy it again")
    return content


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise MissingError(f"no model folder at {folder}; expected a folder with config.json and weights")
