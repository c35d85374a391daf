"""A TRM on disk: its own weights and config, and which backbone they belong to.

In: a TRM and the folder of its backbone. Out: a folder with config.json and model.safetensors; and back,
joined to a backbone whose weights have the hash that was stored. The backbone's own weights are neither
written nor loaded here.

The hash covers names, dtypes, shapes and bytes of all tensors in the order of their names, so sharding
and metadata do not matter and a single changed weight does.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError
from transformers import AutoConfig
from transformers.utils import logging

from kit.errors import InputError, MissingError
from kit.json_text import read_json
from kit.safetensors_header import read_header
from kit.trm.config import TRMConfig, check_names
from kit.trm.language_model import RecursiveLM
from kit.trm.model import TinyRecursiveModel

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
CHUNK_BYTES = 1 << 24

# What transformers and safetensors raise for folders they cannot make sense of.
_LOADING_ERRORS = (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError)


def save(trm: TinyRecursiveModel, folder: Path, *, backbone_folder: Path) -> None:
    """Write the TRM, naming its backbone by path (relative where it lies beside `folder`) and hash.

    Raises: MissingError if the backbone's folder has no weights.
    """
    trm.config.backbone_sha256 = weights_sha256(backbone_folder)
    trm.config.backbone_path = _reference(backbone_folder, folder)
    with _without_progress_bars():
        trm.save_pretrained(folder)


def save_untrained(folder: Path, *, backbone_folder: Path) -> None:
    """Write a TRM that fits a backbone and changes nothing yet: its output projection is zero (R4).

    The same backbone always gives the same bytes.

    Raises: MissingError or InputError if the backbone's folder has no config or no weights.
    """
    try:
        backbone = AutoConfig.from_pretrained(backbone_folder, local_files_only=True)
    except _LOADING_ERRORS as error:
        raise InputError(f"cannot read the backbone's config in {backbone_folder}: {error}") from error
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        trm = TinyRecursiveModel(TRMConfig.for_backbone(backbone))
    save(trm, folder, backbone_folder=backbone_folder)


def load(
    folder: Path, backbone: Any, *, backbone_folder: Path | None = None, check_hash: bool = True, **changes: Any
) -> RecursiveLM:
    """Join a saved TRM to its backbone, on the backbone's device and in its dtype.

    backbone_folder: where the backbone was loaded from; None: where the checkpoint says. check_hash: False
    skips reading all of the backbone's weights once more, for a pair that was checked before. changes:
    settings of TRMConfig to override, such as halt_above.
    Raises: MissingError, InputError for a damaged checkpoint, weights that are not finite, or a backbone
        of another shape or hash.
    """
    trm = load_alone(folder, **changes).to(device=backbone.device, dtype=backbone.dtype)
    model = RecursiveLM(backbone, trm)  # checks shapes first, the cheaper check
    if check_hash:
        check_backbone(trm.config, backbone_folder or find_backbone(folder))
    return model


def load_alone(folder: Path, **changes: Any) -> TinyRecursiveModel:
    """A saved TRM in eval mode, in the dtype of the file, without its backbone.

    Raises: MissingError, InputError.
    """
    config = load_config(folder, **changes)
    check_file(folder, WEIGHTS)
    settings = {"local_files_only": True, "use_safetensors": True, "output_loading_info": True}
    try:
        with _without_progress_bars():
            trm, info = TinyRecursiveModel.from_pretrained(folder, config=config, dtype="auto", **settings)
    except _LOADING_ERRORS as error:
        raise InputError(f"cannot load the TRM in {folder}: {error}") from error
    odd = sorted({*info["missing_keys"], *info["unexpected_keys"]})
    if odd:
        # transformers fills missing ones with random numbers and only warns
        raise InputError(f"the TRM in {folder} does not have the tensors of its config.json, see {odd[0]!r}")
    for name, tensor in trm.state_dict().items():
        if not bool(tensor.isfinite().all()):
            raise InputError(f"the TRM in {folder} is damaged: {name} holds NaN or infinite values")
    loaded: TinyRecursiveModel = trm.eval()
    return loaded


def load_config(folder: Path, **changes: Any) -> TRMConfig:
    """The config of a saved TRM with `changes` by name.

    Raises: MissingError, InputError.
    """
    check_names(changes)  # transformers would ignore an unknown one
    check_file(folder, CONFIG)
    _check_kind(folder / CONFIG)
    try:
        config: TRMConfig = TRMConfig.from_pretrained(folder, **changes)
    except InputError:
        raise
    except _LOADING_ERRORS as error:
        raise InputError(f"cannot load the TRM in {folder}: {error}") from error
    return config


def _check_kind(path: Path) -> None:
    try:
        content = read_json(path.read_text(encoding="utf-8"))
    except ValueError:
        return  # transformers tells it
    kind = content.get("model_type") if isinstance(content, dict) else None
    if kind != TRMConfig.model_type:
        raise InputError(
            f"{path}: model_type is {kind!r}, which is no TRM; expected the folder that kit.trm.checkpoint.save wrote "
            f"({TRMConfig.model_type!r})"
        )


def find_backbone(folder: Path) -> Path:
    """The backbone's folder as a TRM's folder names it; a relative path counts from the TRM's folder.

    Raises: MissingError if it is not there.
    """
    config = load_config(folder)
    found: Path = folder / config.backbone_path  # an absolute path replaces the first part
    if not config.backbone_path or not found.is_dir():
        raise MissingError(f"the TRM in {folder} names its backbone as {config.backbone_path!r}, which is not there")
    return found


def check_backbone(config: TRMConfig, backbone_folder: Path) -> None:
    """Raise InputError unless the folder's weights are those the TRM was trained on; reads all of them."""
    found = weights_sha256(backbone_folder)
    if found != config.backbone_sha256:
        raise InputError(
            f"wrong backbone: the weights in {backbone_folder} have hash {found[:12]}…, this TRM was trained on "
            f"{config.backbone_sha256[:12] or 'an unnamed one'}…; a recursion over other features is noise"
        )


def weights_sha256(folder: Path) -> str:
    """Hash all tensors of a folder's safetensors files.

    Raises: MissingError for a folder without any, InputError for a damaged file.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise MissingError(f"no .safetensors file in {folder}; expected the backbone's model folder")
    entries: dict[str, tuple[Path, dict[str, Any], int]] = {}
    for path in files:
        header = read_header(path)
        entries.update({name: (path, entry, header.data_begins) for name, entry in header.tensors.items()})
    digest = hashlib.sha256()
    for name in sorted(entries):
        path, entry, data_begins = entries[name]
        begin, end = entry["data_offsets"]
        digest.update(json.dumps([name, entry["dtype"], entry["shape"]]).encode())
        with path.open("rb") as file:
            file.seek(data_begins + begin)
            _digest_bytes(digest, file, end - begin, path)
    return digest.hexdigest()


@contextmanager
def _without_progress_bars() -> Iterator[None]:
    """A TRM is one small file; whatever hook of transformers was there is there again afterwards."""

    def hide(make: Callable[..., Any], args: tuple[Any, ...], settings: dict[str, Any]) -> Any:
        return make(*args, **{**settings, "disable": True})

    set_hook = getattr(logging, "set_tqdm_hook", lambda _: None)  # the first releases of transformers 5 have none
    before = set_hook(hide)
    try:
        yield
    finally:
        set_hook(before)


def check_file(folder: Path, name: str) -> None:
    """Raise MissingError unless a TRM's folder holds this file."""
    if not (folder / name).is_file():
        raise MissingError(f"no TRM in {folder}: {name} is missing; expected what kit.trm.checkpoint.save wrote")


def _digest_bytes(digest: Any, file: BinaryIO, num_bytes: int, path: Path) -> None:
    while num_bytes:
        chunk = file.read(min(CHUNK_BYTES, num_bytes))
        if not chunk:
            raise InputError(f"{path} is cut off; copy it again")
        digest.update(chunk)
        num_bytes -= len(chunk)


def _reference(backbone_folder: Path, folder: Path) -> str:
    """Relative if both lie in one folder, so that the pair may be moved; else absolute."""
    backbone_folder, folder = backbone_folder.resolve(), folder.resolve()
    if backbone_folder.is_relative_to(folder.parent):
        return str(Path("..") / backbone_folder.relative_to(folder.parent))
    return str(backbone_folder)
