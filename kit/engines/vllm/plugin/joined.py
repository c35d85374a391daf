"""The folder that vLLM opens: a backbone and a TRM joined by links, so that no weight is copied.

In: a TRM's folder, its backbone's, and where to write. Out: a folder in Hugging Face's layout whose architecture is
ours. It opens headers and configs, no weights.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from kit.engines.text.model_folder import INDEX, check_model_folder, read_config, weight_files
from kit.engines.vllm.plugin.names import ARCHITECTURES, TRM_WEIGHTS, joined_type
from kit.errors import InputError
from kit.safetensors_header import read_header
from kit.trm import checkpoint
from kit.trm.config import TRMConfig


def write_joined(trm_folder: Path, backbone_folder: Path, into: Path) -> Path:
    """Write `into` anew and give it back.

    Raises: MissingError, InputError naming the file, for what is absent or damaged, a backbone of a kind that
        has no class in the plugin, a TRM of another size, or one with an entropy gate or an approximate cache.
    """
    check_model_folder(backbone_folder)
    checkpoint.check_file(trm_folder, checkpoint.WEIGHTS)
    config = checkpoint.load_config(trm_folder)
    told = read_config(backbone_folder)
    _check(config, told, trm_folder, backbone_folder)
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    weight_map = {}
    for name in weight_files(backbone_folder):
        weight_map.update(dict.fromkeys(read_header(backbone_folder / name).tensors, name))
    for path in backbone_folder.iterdir():
        if path.is_file() and path.name not in {checkpoint.CONFIG, INDEX}:
            (into / path.name).symlink_to(path.resolve())
    trm_weights = trm_folder / checkpoint.WEIGHTS
    weight_map.update(dict.fromkeys(read_header(trm_weights).tensors, TRM_WEIGHTS))
    (into / TRM_WEIGHTS).symlink_to(trm_weights.resolve())
    kind = told["model_type"]
    told.update(model_type=joined_type(kind), architectures=[ARCHITECTURES[kind]], trm=_fields(config))
    (into / checkpoint.CONFIG).write_text(json.dumps(told, indent=1, sort_keys=True), encoding="utf-8")
    index = {"metadata": {}, "weight_map": weight_map}
    (into / INDEX).write_text(json.dumps(index, indent=1, sort_keys=True), encoding="utf-8")
    return into


def _check(config: TRMConfig, backbone: dict[str, object], trm_folder: Path, backbone_folder: Path) -> None:
    kind = backbone.get("model_type")
    if kind not in ARCHITECTURES:
        raise InputError(
            f"{backbone_folder / checkpoint.CONFIG}: model_type is {kind!r}; inside vLLM a TRM joins "
            f"{', '.join(ARCHITECTURES)} only; use engine.kind='trm' with transformers"
        )
    for name in ("hidden_size", "vocab_size"):
        if backbone.get(name) != getattr(config, name):
            raise InputError(
                f"wrong backbone: {name} in {backbone_folder / checkpoint.CONFIG} is {backbone.get(name)!r}, "
                f"the TRM in {trm_folder} was made for {getattr(config, name)}"
            )
    num_layers = backbone.get("num_hidden_layers")
    for layer in config.feature_layers:
        if not isinstance(num_layers, int) or not -num_layers - 1 <= layer <= num_layers:
            raise InputError(
                f"{trm_folder / checkpoint.CONFIG}: feature_layers has {layer}, the backbone has hidden states 0 to "
                f"{num_layers} (or negative)"
            )
    if config.gate_entropy is not None or config.cache != "exact":
        raise InputError(
            f"{trm_folder / checkpoint.CONFIG}: gate_entropy and cache='last_step' are not served by vLLM; "
            "unset them or use engine.kind='trm' with transformers"
        )


def _fields(config: TRMConfig) -> dict[str, object]:
    """What differs from TRMConfig's own values, and nothing that transformers adds."""
    known = TRMConfig().__dict__
    kept = {name: value for name, value in config.to_dict().items() if name in TRMConfig.__annotations__}
    return {name: value for name, value in kept.items() if value != known.get(name)}
