"""TRMs opened, saved and pushed as users of transformers do it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

from kit.data.provenance import Provenance, read_provenance, write_provenance
from kit.engines.trm.model_card import CARD
from kit.engines.trm.sharing import TRMForCausalLM, register_auto_classes
from kit.errors import InputError, MissingError
from kit.trm import checkpoint
from kit.trm.config import TRMConfig
from kit.trm.model import TinyRecursiveModel
from tests.engines.loopback_hub import serving
from tests.trm import tiny_trm

ROWS = Provenance(
    training_data="gsm8k: 7 worked solutions", data_sha256="ab", trainable_parameters=3, note="TRM anchor"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of the TRM; its backbone lies beside it."""
    backbone = tiny_trm.backbone(dtype=torch.float32)
    backbone.save_pretrained(tmp_path / "backbone")
    checkpoint.save(tiny_trm.trm_for(backbone), tmp_path / "trm", backbone_folder=tmp_path / "backbone")
    write_provenance(tmp_path / "trm", ROWS)
    return tmp_path / "trm"


def logits(model: Any, depth: int) -> torch.Tensor:
    with torch.inference_mode():
        return model(tiny_trm.ids(2, 6), depth=depth).logits


def test_the_auto_classes_open_a_trm_alone_and_on_its_backbone(folder: Path) -> None:
    register_auto_classes()
    register_auto_classes()
    assert isinstance(AutoConfig.from_pretrained(folder), TRMConfig)
    assert isinstance(AutoModel.from_pretrained(folder), TinyRecursiveModel)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, depth=5)
    expected = checkpoint.load(folder, tiny_trm.backbone(dtype=torch.float32))
    for depth in (0, 3):
        assert torch.equal(logits(model, depth), logits(expected, depth))
    assert model.trm.config.depth == 5
    assert not model.training
    out = model.generate(tiny_trm.ids(1, 4), max_new_tokens=3, do_sample=False, depth=2)
    assert out.shape == (1, 7)


def test_what_is_saved_is_the_trm_alone_with_its_card_and_what_it_was_trained_on(folder: Path, tmp_path: Path) -> None:
    model = TRMForCausalLM.from_pretrained(folder)
    model.save_pretrained(tmp_path / "shared", backbone_id="owner/backbone")
    assert {file.name for file in (tmp_path / "shared").iterdir()} == {
        "config.json", "model.safetensors", "training.json", CARD,
    }  # fmt: skip
    config = json.loads((tmp_path / "shared" / "config.json").read_text(encoding="utf-8"))
    assert (config["backbone_path"], config["backbone_id"]) == ("", "owner/backbone")
    assert read_provenance(tmp_path / "shared") == ROWS
    card = ModelCard.load(tmp_path / "shared" / CARD)
    assert card.data.base_model == "owner/backbone"
    assert card.data.library_name == "transformers"
    for told in (ROWS.training_data, ROWS.note, config["backbone_sha256"], "T = 3 recursions"):
        assert told in card.text
    assert str(tmp_path) not in card.content
    again = TRMForCausalLM.from_pretrained(tmp_path / "shared", backbone=tmp_path / "backbone")
    assert torch.equal(logits(again, 3), logits(model, 3))


def test_a_card_that_is_there_stays_and_one_of_unknown_training_says_so(folder: Path, tmp_path: Path) -> None:
    model = TRMForCausalLM.from_pretrained(folder)
    model.provenance = None
    model.save_pretrained(tmp_path / "shared")
    assert "Nothing is recorded of it" in (tmp_path / "shared" / CARD).read_text(encoding="utf-8")
    (tmp_path / "shared" / CARD).write_text("mine", encoding="utf-8")
    model.save_pretrained(tmp_path / "shared")
    assert (tmp_path / "shared" / CARD).read_text(encoding="utf-8") == "mine"


def test_what_does_not_fit_or_is_not_known_is_one_clear_error(folder: Path, tmp_path: Path) -> None:
    other = tiny_trm.backbone(dtype=torch.float32, seed=3)
    other.save_pretrained(tmp_path / "other")
    with pytest.raises(InputError, match="wrong backbone"):
        TRMForCausalLM.from_pretrained(folder, backbone=tmp_path / "other")
    with pytest.raises(InputError, match="does not take 'device_map' for a TRM"):
        TRMForCausalLM.from_pretrained(folder, device_map="auto")
    model = TRMForCausalLM.from_pretrained(folder)
    with pytest.raises(InputError, match="backbone_id must be owner/name"):
        model.save_pretrained(tmp_path / "x", backbone_id=str(tmp_path))
    with pytest.raises(InputError, match="give backbone_id='owner/name'"):
        model.push_to_hub("owner/trm")
    shutil.rmtree(tmp_path / "backbone")
    with pytest.raises(MissingError, match=r"names its backbone as '../backbone', which is not there"):
        TRMForCausalLM.from_pretrained(folder)


_PUSHED = """
import sys, torch
from pathlib import Path
from transformers import AutoModelForCausalLM
from kit.engines.trm.sharing import register_auto_classes
from kit.errors import MissingError

register_auto_classes()
model = AutoModelForCausalLM.from_pretrained(sys.argv[1])
for _ in range(2):
    model.push_to_hub("owner/trm", backbone_id="owner/backbone", token="hf_" + "x" * 10)
    card = Path(sys.argv[2]) / "README.md"
    card.write_text(card.read_text() + "changed by hand")
again = AutoModelForCausalLM.from_pretrained("owner/trm", depth=2)
ids = torch.tensor([[1, 2, 3]])
assert torch.equal(again(ids, depth=3).logits, model(ids, depth=3).logits)
assert again.trm.config.depth == 2
try:
    AutoModelForCausalLM.from_pretrained("owner/trm", backbone="owner/absent")
except MissingError as error:
    print(error)
"""


def test_a_trm_goes_to_the_hub_and_comes_back_on_the_backbone_of_its_id(folder: Path, tmp_path: Path) -> None:
    """In a process of its own, since huggingface_hub reads its address when it is imported."""
    root = tmp_path / "served"
    shutil.copytree(tmp_path / "backbone", root / "owner" / "backbone")
    pushed = root / "owner" / "trm"
    with serving(root) as url:
        environ = {
            "PATH": "/usr/bin:/bin",
            "OMP_NUM_THREADS": "1",
            "HOME": str(tmp_path),
            "HF_HOME": str(tmp_path / "hf"),
        }
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", _PUSHED, str(folder), str(pushed)],
            capture_output=True, text=True, check=False,
            env={**environ, "HF_ENDPOINT": url, "HF_HUB_DISABLE_XET": "1", "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "owner/absent: no such folder here" in done.stdout
    assert {file.name for file in pushed.iterdir()} == {"config.json", "model.safetensors", "training.json", CARD}
    assert (pushed / CARD).read_text(encoding="utf-8").count("changed by hand") == 2  # the second push kept the first
