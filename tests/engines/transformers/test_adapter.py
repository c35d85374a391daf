"""LoRA adapters merged into the toy model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import trio
from safetensors.torch import load_file, save_file

from kit.assets import TINY_MODEL
from kit.engines.opening import load_engine
from kit.engines.text.adapter_folder import CONFIG, WEIGHTS
from kit.engines.transformers.adapter import merge_adapter
from kit.engines.transformers.loading import load_model
from kit.errors import InputError, MissingError
from kit.sampling import Message, Prompt, SamplingParams
from tests.engines.lora import save_adapter

peft = pytest.importorskip("peft")


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_adapter(tmp_path_factory.mktemp("adapter"))


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.inference_mode():
        return model(torch.arange(8)[None]).logits


def test_a_merged_adapter_computes_what_the_adapter_computes(adapter: Path) -> None:
    base = load_model(TINY_MODEL, device="cpu", dtype="float32")
    before = logits(base)
    expected = logits(peft.PeftModel.from_pretrained(load_model(TINY_MODEL, device="cpu", dtype="float32"), adapter))
    merged = merge_adapter(base, adapter)
    assert not any("lora" in name for name, _ in merged.named_parameters())
    torch.testing.assert_close(logits(merged), expected, atol=1e-3, rtol=1e-3)
    assert (expected - before).abs().max() > 0.1


def test_an_engine_opens_a_model_with_its_adapter(adapter: Path) -> None:
    prompt = Prompt((Message("user", "What is $1+1$?"),))

    async def text(adapter: Path | None) -> str:
        engine = load_engine(TINY_MODEL, adapter=adapter, device="cpu", dtype="float32", num_threads=1)
        async with engine:
            sample = await engine.sample(prompt, SamplingParams(temperature=0, max_new_tokens=12), timeout_s=60)
        return sample.text

    assert trio.run(text, adapter) != trio.run(text, None)
    with pytest.raises(InputError, match="name either a TRM or an adapter"):
        load_engine(TINY_MODEL, adapter=adapter, trm=adapter)


def changed(adapter: Path, out: Path, tensors: dict[str, torch.Tensor]) -> Path:
    shutil.copytree(adapter, out)
    save_file(tensors, out / WEIGHTS)
    return out


def test_an_adapter_of_another_model_is_refused_by_name_and_by_shape(adapter: Path, tmp_path: Path) -> None:
    base = load_model(TINY_MODEL, device="cpu", dtype="float32")
    tensors = load_file(adapter / WEIGHTS)
    first = next(name for name in tensors if "lora_A" in name)
    wider = {**tensors, first: torch.zeros(4, 7)}
    with pytest.raises(
        InputError, match=r"belongs to another model: .*lora_A.* is for 7 features, and this model has \d+"
    ):
        merge_adapter(base, changed(adapter, tmp_path / "wider", wider))
    deeper = {**tensors, "base_model.model.model.layers.99.mlp.up_proj.lora_A.weight": tensors[first].clone()}
    with pytest.raises(InputError, match=r"belongs to another model: .*this model has no such layer"):
        merge_adapter(base, changed(adapter, tmp_path / "deeper", deeper))


@pytest.mark.filterwarnings("ignore:Found missing adapter keys")
def test_an_adapter_that_lacks_a_tensor_or_a_file_is_refused(adapter: Path, tmp_path: Path) -> None:
    base = load_model(TINY_MODEL, device="cpu", dtype="float32")
    tensors = load_file(adapter / WEIGHTS)
    del tensors[next(iter(tensors))]
    with pytest.raises(
        InputError, match=f"lacks .*lora_., which its {CONFIG} asks for".replace("lora_.", r"lora_[AB]\.weight")
    ):
        merge_adapter(base, changed(adapter, tmp_path / "part", tensors))
    with pytest.raises(MissingError, match=f"no adapter in .*: {CONFIG} is missing"):
        merge_adapter(base, TINY_MODEL)
    told = json.loads((adapter / CONFIG).read_text())
    broken = changed(adapter, tmp_path / "broken", load_file(adapter / WEIGHTS))
    (broken / CONFIG).write_text(json.dumps({**told, "init_lora_weights": "no_such"}))
    with pytest.raises(InputError, match="peft cannot load the adapter"):
        merge_adapter(load_model(TINY_MODEL, device="cpu", dtype="float32"), broken)
