"""Models and wheelhouses small enough to bundle in a moment, and `build` with one wheel of the kit for all tests."""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from kit.checkout import build_wheel
from kit.kaggle.dataset import bundle
from kit.kaggle.dataset.bundle import Bundle
from kit.kaggle.dataset.plan import DatasetPlan, Wheelhouse
from kit.kaggle.wheels.committed import KIT_TARGET
from kit.kaggle.wheels.fetch import save_requirements
from kit.kaggle.wheels.lockfile import Lock
from kit.kaggle.wheels.target import Target
from tests.kaggle.wheels.simple_index import make_wheel

_FLAGS = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
TOKENIZER = {
    "version": "1.0",
    "added_tokens": [{"id": 3, "content": "<end>", "special": True, **_FLAGS}],
    "model": {"type": "WordLevel", "vocab": {"a": 0, "b": 1, "c": 2}, "unk_token": "a"},
}


@cache
def kit_wheel() -> Path:
    """The kit's own wheel, built once in this process: hatchling takes a second for it."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return build_wheel(folder)


def build(out: Path, **settings: Any) -> Bundle:
    """As the kit builds a dataset, but for its wheel, which is there already. settings: of the plan and of `build`."""
    given = {name: settings.pop(name) for name in ("kit_wheel", "on_bytes") if name in settings}
    return bundle.build(out, DatasetPlan(**settings), **{"kit_wheel": kit_wheel(), **given})


def make_shard(path: Path, num_bytes: int, *, content: bytes | None = None) -> None:
    """A safetensors file of one tensor; sparse without `content`."""
    header = json.dumps({"t": {"dtype": "U8", "shape": [num_bytes], "data_offsets": [0, num_bytes]}}).encode()
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        if content is not None:
            file.write(content)
        file.truncate(8 + len(header) + num_bytes)


def make_model(folder: Path, *, num_shards: int = 3, shard_bytes: int = 100_000) -> Path:
    """A folder in Hugging Face's layout that passes every check but cannot think."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "qwen2", "vocab_size": 4}')
    (folder / "tokenizer.json").write_text(json.dumps(TOKENIZER))
    (folder / "tokenizer_config.json").write_text('{"chat_template": "{{ messages }}"}')
    weights = {}
    for number in range(num_shards):
        name = f"model-{number + 1:05}-of-{num_shards:05}.safetensors"
        make_shard(folder / name, shard_bytes, content=bytes([number + 1]) * shard_bytes)
        weights[f"t{number}"] = name
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weights}))
    return folder


def make_wheelhouse(folder: Path, *, num_wheels: int = 60) -> Wheelhouse:
    """More wheels than Kaggle takes files, of any Python 3.11 on Linux; one has a name that Kaggle would change."""
    wheels = [make_wheel(folder / "wheels", f"package-{number:03}") for number in range(num_wheels - 1)]
    wheels.append(make_wheel(folder / "wheels", "torch", "2.9.1+cu128", payload=b"weights" * 20_000))
    target = Target(name="test", python="3.11", glibc="2.17", cuda=None, requirements=("torch", "package-000"))
    lock = Lock(target, tuple(sorted(wheels, key=lambda wheel: wheel.name)))
    lock.save(folder / "pylock.test.toml")
    save_requirements(lock, folder / "wheels")
    return Wheelhouse(folder / "pylock.test.toml", folder / "wheels")


def make_needs(folder: Path) -> Wheelhouse:
    """Two small wheels in the place of what the kit itself needs."""
    wheels = (make_wheel(folder / "needs", "first"), make_wheel(folder / "needs", "second"))
    target = Target(name=KIT_TARGET, python="3.11", glibc="2.17", cuda=None, requirements=("first", "second"))
    lock = Lock(target, wheels)
    lock.save(folder / "pylock.kit.toml")
    save_requirements(lock, folder / "needs")
    return Wheelhouse(folder / "pylock.kit.toml", folder / "needs")
