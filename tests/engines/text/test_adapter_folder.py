"""Adapters compared with models by headers alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from kit.assets import TINY_MODEL
from kit.engines.text.adapter_folder import CONFIG, WEIGHTS, check_adapter, check_adapter_folder, largest_rank
from kit.engines.vllm.server.lora import lora_arguments
from kit.errors import InputError, KitError, MissingError
from tests.engines.lora import change_tensors, save_adapter

Tensors = Mapping[str, torch.Tensor]


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_adapter(tmp_path_factory.mktemp("lora") / "adapter", rank=4)


@pytest.fixture
def copied(adapter: Path, tmp_path: Path) -> Path:
    return shutil.copytree(adapter, tmp_path / "adapter")


def with_config(folder: Path, **changes: object) -> Path:
    told = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    (folder / CONFIG).write_text(json.dumps({**told, **changes}), encoding="utf-8")
    return folder


def model_with(folder: Path, change: Callable[[Tensors], Tensors]) -> Path:
    """The shipped model with its tensors as `change` makes them."""
    shutil.copytree(TINY_MODEL, folder)
    save_file(dict(change(load_file(folder / "model.safetensors"))), folder / "model.safetensors")
    return folder


def test_an_adapter_fits_the_model_that_it_was_made_for(adapter: Path) -> None:
    check_adapter(adapter, TINY_MODEL)
    assert largest_rank(adapter) == 4


def test_names_around_the_layers_and_packed_weights_are_no_difference(adapter: Path, tmp_path: Path) -> None:
    """Multimodal checkpoints wrap the layers otherwise than the loaded model; quantised ones pack each weight."""
    wrapped = model_with(
        tmp_path / "wrapped", lambda tensors: {f"language_model.{name}": value for name, value in tensors.items()}
    )
    check_adapter(adapter, wrapped)
    packed = model_with(
        tmp_path / "packed",
        lambda tensors: {name.replace("weight", "qweight"): torch.zeros(1, 7, dtype=torch.int32) for name in tensors},
    )
    check_adapter(adapter, packed)


def test_another_width_or_number_of_layers_is_another_model(copied: Path, tmp_path: Path) -> None:
    wider = model_with(
        tmp_path / "wider",
        lambda tensors: {
            name: torch.zeros(value.shape[0], value.shape[1] + 1) if "up_proj" in name else value
            for name, value in tensors.items()
        },
    )
    with pytest.raises(InputError, match=r"belongs to another model: .*up_proj\.lora_A.* has \d+ features there"):
        check_adapter(copied, wider)
    shorter = model_with(
        tmp_path / "shorter", lambda tensors: {name: tensors[name] for name in tensors if ".layers.1." not in name}
    )
    with pytest.raises(InputError, match=r"layers\.1\..*this model has no such layer; name the model"):
        check_adapter(copied, shorter)
    change_tensors(copied, lambda tensors: {name.replace("layers", "blocks"): each for name, each in tensors.items()})
    with pytest.raises(InputError, match="this model has no such layer"):
        check_adapter(copied, TINY_MODEL)


def test_what_is_no_adapter_is_told_for_what_it_is(adapter: Path, copied: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="it holds a whole model, such as a full fine-tune: name it as the model"):
        check_adapter_folder(TINY_MODEL)
    run = tmp_path / "run"
    shutil.copytree(adapter, run / "adapter")
    with pytest.raises(MissingError, match=f"did you mean {run / 'adapter'}\\?"):
        check_adapter_folder(run)
    with pytest.raises(MissingError, match=f"{CONFIG} is missing; expected what peft's save_pretrained wrote"):
        check_adapter_folder(tmp_path / "absent")
    (copied / WEIGHTS).rename(copied / "adapter_model.bin")
    with pytest.raises(MissingError, match="its weights are pickled"):
        check_adapter_folder(copied)


def test_another_kind_of_adapter_or_a_damaged_one_is_refused(copied: Path) -> None:
    with pytest.raises(InputError, match=r"is no LoRA .peft_type 'IA3'.; merge it"):
        check_adapter_folder(with_config(copied, peft_type="IA3"))
    with_config(copied, peft_type="LORA")
    whole = (copied / WEIGHTS).read_bytes()
    (copied / WEIGHTS).write_bytes(whole[:-1])
    with pytest.raises(InputError, match="is damaged: expected"):
        check_adapter_folder(copied)
    (copied / WEIGHTS).write_bytes(whole)
    for damaged in ("{", "[]"):
        (copied / CONFIG).write_text(damaged, encoding="utf-8")
        with pytest.raises(KitError, match=f"{CONFIG} (is not valid JSON|holds a list)"):
            check_adapter(copied, TINY_MODEL)


@pytest.mark.parametrize(("rank", "served"), [(1, "1"), (4, "8"), (17, "32"), (300, "320")])
def test_vllm_is_told_the_next_rank_that_it_knows(copied: Path, rank: int, served: str) -> None:
    """The largest of all layers counts."""
    first = next(name for name in load_file(copied / WEIGHTS) if "lora_A" in name)

    def change(tensors: Tensors) -> Tensors:
        small = {name: value[:1] if "lora_A" in name else value[:, :1] for name, value in tensors.items()}
        return {name: value.contiguous() for name, value in small.items()} | {first: torch.zeros(rank, 8)}

    change_tensors(copied, change)
    arguments = lora_arguments(copied)
    assert arguments[:4] == ("--enable-lora", "--max-lora-rank", served, "--lora-modules")
    assert json.loads(arguments[4]) == {"name": "adapter", "path": str(copied)}


def test_what_vllm_does_not_serve_is_said_before_its_start(copied: Path) -> None:
    with pytest.raises(InputError, match=r"vLLM does not serve .*: its config asks for use_dora; merge it"):
        lora_arguments(with_config(copied, use_dora=True))
    with_config(copied, use_dora=False)
    change_tensors(copied, lambda tensors: {name: torch.zeros(600, 600) for name in tensors})
    with pytest.raises(InputError, match="rank 600 is above 512"):
        lora_arguments(copied)
