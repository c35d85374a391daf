"""Saving and loading the TRM alone, and refusing what does not belong together."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers.utils.logging import is_progress_bar_enabled, set_tqdm_hook

from kit.errors import InputError, MissingError
from kit.trm import checkpoint
from kit.trm.language_model import RecursiveLM, check_prompts
from kit.trm.model import TinyRecursiveModel
from tests.engines import tiny
from tests.trm import tiny_trm


@pytest.fixture
def model() -> RecursiveLM:
    return tiny_trm.language_model(dtype=torch.float32, feature_layers=(1, -1), damped=True, halt_above=0.5)


@pytest.fixture
def folders(model: RecursiveLM, tmp_path: Path) -> tuple[Path, Path]:
    """(the TRM's, the backbone's)."""
    model.backbone.save_pretrained(tmp_path / "backbone")
    checkpoint.save(model.trm, tmp_path / "trm", backbone_folder=tmp_path / "backbone")
    return tmp_path / "trm", tmp_path / "backbone"


def test_a_saved_trm_comes_back_the_same(model: RecursiveLM, folders: tuple[Path, Path]) -> None:
    loaded = checkpoint.load(folders[0], tiny_trm.backbone(dtype=torch.float32))
    assert loaded.trm.config.feature_layers == (1, -1)
    assert loaded.trm.config.halt_above == 0.5
    input_ids = tiny_trm.ids(2, 6)
    assert torch.equal(loaded(input_ids, depth=3).logits, model(input_ids, depth=3).logits)


def test_only_the_trms_own_weights_are_saved(model: RecursiveLM, folders: tuple[Path, Path]) -> None:
    trm_folder, backbone_folder = folders
    saved = load_file(trm_folder / "model.safetensors")
    assert saved.keys() == dict(model.trm.named_parameters()).keys()
    config = json.loads((trm_folder / "config.json").read_text())
    assert config["backbone_path"] == "../backbone"
    assert config["backbone_sha256"] == checkpoint.weights_sha256(backbone_folder)


def test_saving_and_loading_draw_no_progress_bar(
    model: RecursiveLM, folders: tuple[Path, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    """And leave those of other models as they were."""
    before = set_tqdm_hook(None)
    set_tqdm_hook(before)
    checkpoint.save(model.trm, folders[0], backbone_folder=folders[1])
    checkpoint.load_alone(folders[0])
    assert capfd.readouterr().err == ""
    assert set_tqdm_hook(before) is before
    if is_progress_bar_enabled():
        model.backbone.save_pretrained(folders[1])
        assert "model shards" in capfd.readouterr().err


@pytest.mark.parametrize("form", tiny_trm.FORMS)
def test_whether_states_are_damped_goes_by_the_form_and_is_saved(form: str, tmp_path: Path) -> None:
    trm = tiny_trm.trm_for(tiny_trm.backbone(), form=form)
    assert trm.config.damped is (form == "token")
    assert (trm.rates is not None) is (form == "token")
    trm.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["damped"] is (form == "token")
    assert checkpoint.load_config(tmp_path).damped is (form == "token")
    assert tiny_trm.trm_for(tiny_trm.backbone(), form=form, damped=form != "token").config.damped is (form != "token")


def test_it_is_a_pretrained_model_by_itself(model: RecursiveLM, tmp_path: Path) -> None:
    model.trm.save_pretrained(tmp_path)
    again = TinyRecursiveModel.from_pretrained(tmp_path)
    for name, tensor in model.trm.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name


def test_the_pair_is_not_saved_whole(model: RecursiveLM, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="save its TRM"):
        model.save_pretrained(tmp_path)


def test_settings_may_change_at_loading(folders: tuple[Path, Path]) -> None:
    loaded = checkpoint.load(folders[0], tiny_trm.backbone(dtype=torch.float32), halt_above=None, depth=7)
    assert (loaded.trm.config.halt_above, loaded.trm.config.depth) == (None, 7)
    with pytest.raises(InputError, match="did you mean 'depth'"):
        checkpoint.load(folders[0], tiny_trm.backbone(), dept=7)


def test_the_pair_may_move_together(folders: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    for folder in folders:
        shutil.move(folder, tmp_path / "elsewhere" / folder.name)
    assert checkpoint.find_backbone(tmp_path / "elsewhere" / "trm").is_dir()


def test_a_backbone_far_away_is_named_by_its_whole_path(model: RecursiveLM, folders: Any, tmp_path: Path) -> None:
    checkpoint.save(model.trm, tmp_path / "a" / "b" / "trm", backbone_folder=folders[1])
    assert checkpoint.find_backbone(tmp_path / "a" / "b" / "trm") == folders[1].resolve()


def test_a_backbone_that_is_gone_is_named(folders: tuple[Path, Path]) -> None:
    shutil.rmtree(folders[1])
    with pytest.raises(MissingError, match=r"'../backbone', which is not there"):
        checkpoint.load(folders[0], tiny_trm.backbone(dtype=torch.float32))


def test_a_backbone_with_one_other_weight_is_refused(folders: tuple[Path, Path]) -> None:
    weights = load_file(folders[1] / "model.safetensors")
    weights["model.norm.weight"][0] += 1e-3
    save_file(weights, folders[1] / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"wrong backbone: the weights in .* have hash"):
        checkpoint.load(folders[0], tiny_trm.backbone(dtype=torch.float32))


def test_sharding_does_not_change_the_hash(model: RecursiveLM, folders: tuple[Path, Path], tmp_path: Path) -> None:
    model.backbone.save_pretrained(tmp_path / "sharded", max_shard_size="20KB")
    assert len(list((tmp_path / "sharded").glob("*.safetensors"))) > 1
    assert checkpoint.weights_sha256(tmp_path / "sharded") == checkpoint.weights_sha256(folders[1])


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"hidden_size": 64}, "its hidden_size is 64, this TRM was made for 32"),
        ({"vocab_size": 51}, "its vocab_size is 51, this TRM was made for 50"),
    ],
    ids=str,
)
def test_a_backbone_of_another_shape_is_refused(
    folders: tuple[Path, Path], other: dict[str, int], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        checkpoint.load(folders[0], tiny_trm.backbone(**other))


def test_feature_layers_beyond_the_backbone_are_refused() -> None:
    with pytest.raises(InputError, match=r"feature_layers has 4, the backbone has hidden states 0 to 3"):
        tiny_trm.language_model(feature_layers=(4,))


def test_a_backbone_that_reworks_its_logits_is_refused() -> None:
    backbone = tiny_trm.backbone()
    trm = tiny_trm.trm_for(backbone)

    def cap(_module: Any, _args: Any, output: Any) -> None:
        output.logits = output.logits.tanh()

    backbone.register_forward_hook(cap)
    with pytest.raises(InputError, match=r"not lm_head\(last hidden state\)"):
        RecursiveLM(backbone, trm)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_named(folders: tuple[Path, Path], value: float) -> None:
    path = folders[0] / "model.safetensors"
    weights = load_file(path)
    weights["halt.weight"][0, 3] = value
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"halt\.weight holds NaN or infinite"):
        checkpoint.load_alone(folders[0])


def test_missing_files_are_named(folders: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"no TRM in .*absent: config.json is missing"):
        checkpoint.load_alone(tmp_path / "absent")
    (folders[0] / "model.safetensors").unlink()
    with pytest.raises(MissingError, match=r"model\.safetensors is missing"):
        checkpoint.load_alone(folders[0])
    with pytest.raises(MissingError, match=r"no \.safetensors file"):
        checkpoint.weights_sha256(tmp_path)


def _without_a_tensor(path: Path) -> None:
    weights = load_file(path)
    del weights["out.weight"]
    save_file(weights, path, metadata={"format": "pt"})


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_without_a_tensor, r"does not have the tensors of its config.json, see 'out\.weight'"),
        (_cut, "cannot load the TRM"),
        (lambda path: path.write_bytes(b""), "cannot load the TRM"),
        (lambda path: path.with_name("config.json").write_text("{"), "cannot load the TRM"),
    ],
)
def test_damaged_files_are_refused(folders: tuple[Path, Path], damage: Any, message: str) -> None:
    damage(folders[0] / "model.safetensors")
    with pytest.raises(InputError, match=message):
        checkpoint.load_alone(folders[0])


@pytest.mark.parametrize("content", [b"", b"\xff" * 40, (2).to_bytes(8, "little") + b"[{"])
def test_a_damaged_backbone_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(InputError, match=r"model\.safetensors"):
        checkpoint.weights_sha256(tmp_path)


def test_a_cut_off_backbone_file_is_named(folders: tuple[Path, Path]) -> None:
    _cut(folders[1] / "model.safetensors")
    with pytest.raises(InputError, match="is cut off"):
        checkpoint.weights_sha256(folders[1])


@pytest.mark.parametrize(
    ("shape", "mask", "message"),
    [
        ((1, 0), None, "at least one token"),
        ((0, 4), None, "at least one token"),
        ((2, 3), [[1, 1, 1], [0, 0, 0]], "row 1 of attention_mask is all padding"),
        ((1, 3), [[1, 1, 0]], "padded on the left"),
        ((1, 8), None, "row 0 has 8 tokens and the backbone's context holds 8"),
    ],
    ids=str,
)
def test_prompts_that_nothing_can_follow_are_refused(shape: Any, mask: Any, message: str) -> None:
    model = tiny_trm.language_model()
    model.config.max_position_embeddings = 8
    input_ids = torch.zeros(shape, dtype=torch.int64)
    mask = None if mask is None else torch.tensor(mask)
    with pytest.raises(InputError, match=message):
        model.generate(input_ids, attention_mask=mask, max_new_tokens=2)
    check_prompts(torch.zeros(1, 7, dtype=torch.int64), None, context=8)


def test_it_joins_other_causal_models_too() -> None:
    for kind in ("llama", "gpt2"):
        backbone = tiny.build(kind)
        model = RecursiveLM(backbone, tiny_trm.trm_for(backbone, is_trained=False)).eval()
        input_ids = torch.arange(6)[None]
        assert torch.equal(model(input_ids, depth=2).logits, backbone(input_ids).logits)
