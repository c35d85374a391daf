"""A whole run of `kit train`: what it leaves, that it goes on, and that two processes are one."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM
from transformers.models.qwen2.modeling_qwen2 import Qwen2DecoderLayer

from kit.data.provenance import PROVENANCE, read_provenance
from kit.engines.text.tokenizer import load_tokenizer
from kit.engines.transformers.loading import load_model
from kit.errors import EngineError, InputError, MissingError, SettingError, TrainingError
from kit.evaluation.description import described
from kit.evaluation.head import EvalModel
from kit.training import checkpoint
from kit.training.checkpoint import CHECKPOINT
from kit.training.launch import AcceleratedWorkers
from kit.training.records import updates_of
from kit.training.run import Trained, Watchers, train
from kit.training.settings import TrainSettings, read_settings, settings_of
from kit.trm import checkpoint as trm_checkpoint
from tests.training import small_model

MANY = 1000
RESULT = {
    "trm": "trm/model.safetensors",
    "finetune": "model/model.safetensors",
    "lora": "adapter/adapter_model.safetensors",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    small_model.write_backbone(tmp_path / "backbone")
    small_model.write_data(tmp_path / "train.jsonl")
    return tmp_path


def run(settings: TrainSettings, folder: Path, **more: Any) -> Trained:
    return train(settings, cache=folder / "cache", **more)


def weights(folder: Path, method: str, output: str = "") -> dict[str, torch.Tensor]:
    return load_file(folder / (output or method) / RESULT[method])


def losses(folder: Path) -> list[float]:
    return [update["loss"] for update in updates_of(folder)]


def test_a_trm_lowers_its_loss_and_loads_onto_its_backbone(folder: Path) -> None:
    trained = run(small_model.settings(folder, "trm", epochs=8), folder)
    assert trained.is_whole
    assert trained.result == folder / "trm/trm"
    assert losses(folder / "trm")[-1] < losses(folder / "trm")[0] - 1
    backbone = load_model(folder / "backbone", device="cpu", dtype="float32")
    model = trm_checkpoint.load(trained.result, backbone)
    tokens = load_tokenizer(folder / "backbone")("What is 3 + 4?", return_tensors="pt")["input_ids"]
    assert not torch.equal(model(tokens, depth=2).logits, model(tokens, depth=0).logits)


@pytest.mark.parametrize("whiten", [True, False])
def test_a_trms_features_are_whitened_by_the_states_of_its_rows(folder: Path, whiten: bool) -> None:
    trained = run(small_model.settings(folder, "trm", epochs=1, feature_layers=(0, -1), whiten=whiten), folder)
    assert trained.result is not None
    trm = trm_checkpoint.load_alone(trained.result)
    assert trm.config.whitened is whiten
    assert (trm.whitening is not None) == whiten
    if trm.whitening is not None:
        states = np.fromfile(next((folder / "cache/hidden_states").glob("*/*.f16")), np.float16).reshape(-1, 2, 32)
        white_ND = trm.whitening(torch.from_numpy(states[:, 1]).float(), 1)
        assert float(white_ND.mean(0).abs().max()) < 0.02  # some are cut


def test_a_fine_tune_is_a_plain_folder_of_which_the_last_layer_alone_has_changed(folder: Path) -> None:
    trained = run(small_model.settings(folder, "finetune", epochs=6), folder)
    assert trained.result is not None
    before = AutoModelForCausalLM.from_pretrained(folder / "backbone").state_dict()
    after = AutoModelForCausalLM.from_pretrained(trained.result).state_dict()
    changed = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    assert changed
    assert all(name.startswith("model.layers.1.") for name in changed)
    assert load_tokenizer(trained.result).chat_template
    assert losses(folder / "finetune")[-1] < losses(folder / "finetune")[0] - 0.2


def test_the_layers_below_those_that_are_trained_run_once_for_each_row_in_all_runs(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    num_rows = 0

    def counted(self: Any, hidden: torch.Tensor, *args: Any, **more: Any) -> Any:
        nonlocal num_rows
        if self.self_attn.layer_idx == 0 and len(hidden) > 1:  # but for the one that is tried
            num_rows += len(hidden)
        return forward(self, hidden, *args, **more)

    forward = Qwen2DecoderLayer.forward
    monkeypatch.setattr(Qwen2DecoderLayer, "forward", counted)
    run(small_model.settings(folder, "finetune"), folder)
    run(small_model.settings(folder, "lora", lora_layers=1), folder)
    assert num_rows == 12
    run(small_model.settings(folder, "lora", output_dir=folder / "all"), folder)
    assert num_rows == 12 + 2 * 12
    run(small_model.settings(folder, "finetune", output_dir=folder / "once", epochs=1), folder)
    assert num_rows == 12 + 2 * 12 + 12  # as few as if they had been kept
    assert len(list((folder / "cache/hidden_states").glob("*/*.f16"))) == 1


@pytest.mark.parametrize(
    ("method", "more"),
    [("finetune", {}), ("finetune", {"bf16": True}), ("lora", {"lora_layers": 1})],
    ids=["last layer", "in bfloat16", "LoRA"],
)
def test_what_is_known_of_the_frozen_layers_changes_no_weight(
    folder: Path, monkeypatch: pytest.MonkeyPatch, method: str, more: dict[str, Any]
) -> None:
    """But for the float16 that it is kept in."""
    run(small_model.settings(folder, method, output_dir=folder / "known", **more), folder)
    monkeypatch.setattr("kit.training.methods.cut", lambda *_: None)
    run(small_model.settings(folder, method, output_dir=folder / "computed", **more), folder)
    assert losses(folder / "known") == pytest.approx(losses(folder / "computed"), rel=1e-3)
    known, computed = weights(folder, method, "known"), weights(folder, method, "computed")
    assert known.keys() == computed.keys()
    flat = [torch.cat([each[name].flatten() for name in sorted(computed)]) for each in (known, computed)]
    assert (flat[0] - flat[1]).norm() < 2e-2 * flat[1].norm()  # Adam makes steps of equal size of small gradients


def test_states_that_float16_does_not_hold_are_computed_in_each_update(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    forward = Qwen2DecoderLayer.forward

    def huge(self: Any, *args: Any, **more: Any) -> Any:
        out = forward(self, *args, **more)
        return out + 1e6 if self.self_attn.layer_idx == 0 else out

    monkeypatch.setattr(Qwen2DecoderLayer, "forward", huge)
    assert run(small_model.settings(folder, "finetune"), folder).is_whole
    assert "which float16 does not hold" in caplog.text
    assert "so the frozen layers run in each update" in caplog.text
    assert not list((folder / "cache/hidden_states").glob("*/*.f16"))


def test_a_lora_of_the_last_layers_leaves_the_others_alone(folder: Path) -> None:
    from peft import PeftModel

    trained = run(small_model.settings(folder, "lora", lora_layers=1), folder)
    assert trained.result is not None
    assert {name.split("layers.")[1][0] for name in weights(folder, "lora")} == {"1"}
    backbone = load_model(folder / "backbone", device="cpu", dtype="float32")
    PeftModel.from_pretrained(backbone, trained.result)
    with pytest.raises(InputError, match="lora_layers must be at most 2"):
        run(small_model.settings(folder, "lora", output_dir=folder / "more", lora_layers=3), folder)


def test_a_lora_is_an_adapter_that_peft_loads_and_names_no_path_of_this_machine(folder: Path) -> None:
    from peft import PeftModel

    trained = run(small_model.settings(folder, "lora", epochs=6), folder)
    assert trained.result is not None
    config = json.loads((trained.result / "adapter_config.json").read_text(encoding="utf-8"))
    assert config["base_model_name_or_path"] == "backbone"
    assert config["r"] == 2
    left = {file.name for file in trained.result.iterdir()}
    assert left == {"adapter_config.json", "adapter_model.safetensors", PROVENANCE}
    backbone = load_model(folder / "backbone", device="cpu", dtype="float32")
    tokens = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        before = backbone(tokens).logits
        after = PeftModel.from_pretrained(backbone, trained.result)(tokens).logits
    assert not torch.equal(before, after)


@pytest.mark.parametrize(
    ("method", "note"),
    [
        ("trm", "TRM anchor, T = 2 random, n = 1, N_sup = 2, 2 epochs, lr 0.01, seed 0"),
        ("finetune", "last 1 layers, 2 epochs, lr 0.01, seed 0"),
        ("lora", "LoRA of rank 2, 2 epochs, lr 0.01, seed 0"),
    ],
)
def test_weights_say_what_they_were_trained_on_and_an_evaluation_tells_it(folder: Path, method: str, note: str) -> None:
    trained = run(small_model.settings(folder, method), folder)
    assert trained.result is not None
    found = read_provenance(trained.result)
    assert found is not None
    assert (found.training_data, found.note) == ("train.jsonl: 12 worked solutions", note)
    on_top = {"trm": {"trm": trained.result}, "lora": {"adapter": trained.result}, "finetune": {}}[method]
    model = EvalModel(name="tiny", folder=trained.result if method == "finetune" else folder / "backbone", **on_top)
    about = described(model.facts)
    assert (about.training_data, about.note) == (found.training_data, note)
    assert about.trainable_parameters == found.trainable_parameters == trained.num_parameters > 0
    assert str(folder) not in (trained.result / PROVENANCE).read_text(encoding="utf-8")


@pytest.mark.parametrize("method", ["trm", "lora"])
def test_a_stopped_run_goes_on_to_the_same_bits(folder: Path, method: str) -> None:
    whole = small_model.settings(folder, method, output_dir=folder / "whole")
    run(whole, folder)
    broken, told = replace(whole, output_dir=folder / "broken"), []
    stopped = run(broken, folder, watchers=Watchers(update=told.append, should_stop=lambda: len(told) >= 3))
    assert not stopped.is_whole
    assert stopped.result is None
    assert run(read_settings(folder / "broken"), folder, resume_from=folder / "broken").is_whole
    expected, found = weights(folder, method, "whole"), weights(folder, method, "broken")
    assert expected.keys() == found.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    assert losses(folder / "broken") == losses(folder / "whole")


def test_a_run_may_go_on_in_another_folder_and_leaves_the_first_as_it_was(folder: Path) -> None:
    settings, told = small_model.settings(folder, "finetune"), []
    run(settings, folder, watchers=Watchers(update=told.append, should_stop=lambda: len(told) >= 2))
    before = (folder / "finetune/checkpoint.pt").read_bytes()
    elsewhere = replace(read_settings(folder / "finetune"), output_dir=folder / "elsewhere")
    assert run(elsewhere, folder, resume_from=folder / "finetune").is_whole
    assert (folder / "finetune/checkpoint.pt").read_bytes() == before
    assert (folder / "elsewhere/model").is_dir()


def test_a_run_that_goes_on_in_another_folder_has_all_of_its_log(folder: Path) -> None:
    settings, told = small_model.settings(folder, "finetune"), []
    run(settings, folder, watchers=Watchers(update=told.append, should_stop=lambda: len(told) >= 2))
    run(replace(settings, output_dir=folder / "elsewhere"), folder, resume_from=folder / "finetune")
    assert [update["number"] for update in updates_of(folder / "elsewhere")] == list(range(6))
    again = run(replace(settings, output_dir=folder / "third"), folder, resume_from=folder / "elsewhere")
    assert again.curves is not None
    (folder / "third/log.jsonl").unlink()
    bare = run(replace(settings, output_dir=folder / "third"), folder, resume_from=folder / "third")
    assert (bare.is_whole, bare.curves) == (True, None)


def test_a_run_may_go_on_with_smaller_batches_of_the_same_updates(folder: Path) -> None:
    whole = small_model.settings(folder, "finetune", output_dir=folder / "whole")
    run(whole, folder)
    broken, told = replace(whole, output_dir=folder / "broken"), []
    run(broken, folder, watchers=Watchers(update=told.append, should_stop=lambda: len(told) >= 3))
    halved = settings_of("finetune", {"batch_size": 2, "gradient_accumulation": 2}, resume=folder / "broken")
    assert run(halved, folder, resume_from=folder / "broken").is_whole
    assert losses(folder / "broken") == pytest.approx(losses(folder / "whole"), rel=1e-5)
    with pytest.raises(InputError, match=r"goes on with updates of 4 rows, and --batch_size 2 x .* is 2"):
        settings_of("finetune", {"batch_size": 2, "gradient_accumulation": 1}, resume=folder / "broken")


def test_a_run_may_go_on_with_a_lower_rate(folder: Path) -> None:
    settings, told = small_model.settings(folder, "finetune", lr=1e30, warmup=0, output_dir=folder / "run"), []
    with pytest.raises(TrainingError, match="resume with a lower learning rate"):
        run(settings, folder, watchers=Watchers(update=told.append))
    lower = settings_of("finetune", {"lr": 1e-4}, resume=folder / "run")
    assert run(lower, folder, resume_from=folder / "run").is_whole
    assert all(math.isfinite(loss) for loss in losses(folder / "run"))


def test_a_log_whose_last_line_is_torn_is_gone_on_with(folder: Path) -> None:
    settings, told = small_model.settings(folder, "finetune"), []
    run(settings, folder, watchers=Watchers(update=told.append, should_stop=lambda: len(told) >= 2))
    log = folder / "finetune/log.jsonl"
    log.write_bytes(log.read_bytes()[:-20])
    assert run(settings, folder, resume_from=folder / "finetune").is_whole
    assert [update["number"] for update in updates_of(folder / "finetune")] == [0, *range(2, 6)]


def test_a_run_that_is_begun_anew_has_no_updates_of_the_one_before(folder: Path) -> None:
    settings, told = small_model.settings(folder, "finetune"), []
    run(settings, folder, watchers=Watchers(update=told.append, should_stop=lambda: len(told) >= 4))
    (folder / "finetune" / CHECKPOINT).unlink()  # as where it was killed before its first checkpoint
    run(settings, folder, watchers=Watchers(update=told.append, should_stop=lambda: len(told) >= 6))
    assert [update["number"] for update in updates_of(folder / "finetune")] == [0, 1]


def test_tokens_a_second_of_a_session_do_not_count_the_time_of_the_ones_before(folder: Path) -> None:
    settings, told = small_model.settings(folder, "finetune"), []
    run(settings, folder, watchers=Watchers(update=told.append, should_stop=lambda: len(told) >= 2))
    path = folder / "finetune" / CHECKPOINT
    state = checkpoint.load(path)
    checkpoint.save(path, {**state, "seconds": 1e9})
    run(settings, folder, resume_from=folder / "finetune")
    assert all(update["tokens_per_s"] > 0.1 for update in updates_of(folder / "finetune"))


@pytest.mark.parametrize("text", ["{}", '{"method": "finetune", "epochs": "3"}'])
def test_settings_that_were_damaged_by_hand_are_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "settings.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"settings\.json: "):
        read_settings(tmp_path)


def test_a_run_that_was_ended_before_its_first_checkpoint_goes_on_from_the_beginning(folder: Path) -> None:
    settings = small_model.settings(folder, "finetune")

    def end(_done: int, _of: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(settings, folder, watchers=Watchers(states=end))
    again = replace(read_settings(folder / "finetune"), output_dir=folder / "elsewhere")
    assert run(again, folder, resume_from=folder / "finetune").is_whole
    assert run(settings, folder, resume_from=folder / "finetune").is_whole


def test_a_run_leaves_its_settings_its_log_its_events_and_its_curves(folder: Path) -> None:
    settings = small_model.settings(folder, "trm")
    trained = run(settings, folder)
    assert read_settings(folder / "trm") == settings
    head = json.loads((folder / "trm/log.jsonl").read_text(encoding="utf-8").splitlines()[0])["head"]
    assert head["settings"] == settings.plain()
    assert head["trained_parameters"] == trained.num_parameters
    updates = updates_of(folder / "trm")
    assert [update["number"] for update in updates] == list(range(2 * 6))
    assert {"loss", "grad_norm", "tokens_per_s", "halting", "halting_right", "right/1"} <= updates[-1].keys()
    assert list((folder / "trm/tensorboard").glob("events.*"))
    assert trained.curves is not None
    assert trained.curves.read_bytes().startswith(b"\x89PNG")


def test_the_backbone_runs_once_for_all_epochs_and_runs(folder: Path) -> None:
    settings, seen = small_model.settings(folder, "trm"), []
    watchers = Watchers(states=lambda done, of: seen.append((done, of)))
    run(settings, folder, watchers=watchers)
    assert seen == [(12, 12)]
    run(replace(settings, output_dir=folder / "again", T_recursion=1), folder, watchers=watchers)
    assert len(seen) == 1


def test_hidden_states_can_be_interrupted_and_go_on(folder: Path) -> None:
    settings = small_model.settings(folder, "trm")
    with pytest.raises(KeyboardInterrupt):
        run(settings, folder, watchers=Watchers(should_stop=lambda: True))
    assert run(settings, folder).is_whole


def test_a_folder_that_holds_a_run_is_not_overwritten(folder: Path) -> None:
    settings = small_model.settings(folder, "finetune")
    run(settings, folder)
    with pytest.raises(InputError, match="holds a run; go on with --resume"):
        run(settings, folder)


def test_a_gpu_that_is_not_there_is_told_before_anything_is_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    settings = small_model.settings(folder, "lora", device="cuda")
    with pytest.raises(InputError, match="device='cuda' but torch sees no GPU"):
        run(settings, folder)
    assert not settings.output_dir.exists()


def test_a_device_that_accelerate_does_not_take_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It keeps that of the process's first training: here the CPU, and a run on a GPU would silently be one on it."""
    run(small_model.settings(folder, "lora", epochs=1), folder)
    with pytest.raises(InputError, match=r"device='cuda' but accelerate takes another .* train in a process"):
        AcceleratedWorkers(torch.device("cuda"))


def test_what_is_left_out_is_told_in_each_run(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with (folder / "train.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"question": "What is it?", "answer": 7}) + "\n")
    for name in ("first", "again"):
        caplog.clear()
        run(small_model.settings(folder, "lora", output_dir=folder / name, epochs=1), folder)
        told = f"{folder / 'train.jsonl'}: of 13 examples left out: 1 without a boxed answer, 0 longer than 512 tokens"
        assert caplog.text.count(told) == 1


def test_a_settings_file_with_a_value_out_of_range_is_named(folder: Path) -> None:
    settings = small_model.settings(folder, "lora")
    settings.write()
    path = settings.output_dir / "settings.json"
    path.write_text(path.read_text().replace('"T_spread": "random"', '"T_spread": "fixd"'))
    with pytest.raises(InputError, match=r"settings\.json: T_spread must be random or .*, got 'fixd'"):
        settings_of("lora", {}, resume=settings.output_dir)


def test_a_checkpoint_of_another_backbone_is_refused(folder: Path) -> None:
    settings, told = small_model.settings(folder, "finetune"), []
    run(settings, folder, watchers=Watchers(update=told.append, should_stop=lambda: len(told) >= 2))
    other = AutoModelForCausalLM.from_pretrained(folder / "backbone")
    with torch.no_grad():
        other.model.norm.weight.add_(0.01)
    other.save_pretrained(folder / "backbone")
    with pytest.raises(InputError, match="another run"):
        run(settings, folder, resume_from=settings.output_dir)


def test_settings_that_a_checkpoint_does_not_fit_leave_those_of_its_run(folder: Path) -> None:
    settings, told = small_model.settings(folder, "finetune"), []
    run(settings, folder, watchers=Watchers(update=told.append, should_stop=lambda: len(told) >= 2))
    with pytest.raises(InputError, match="another run"):
        run(replace(settings, warmup=3), folder, resume_from=settings.output_dir)
    assert read_settings(folder / "finetune") == settings
    elsewhere = replace(settings, warmup=3, output_dir=folder / "elsewhere")
    with pytest.raises(InputError, match="another run"):
        run(elsewhere, folder, resume_from=settings.output_dir)
    assert not (folder / "elsewhere" / CHECKPOINT).exists()
    longer = replace(settings, save_every=7)
    assert run(longer, folder, resume_from=settings.output_dir).is_whole
    assert read_settings(folder / "finetune") == longer


def test_a_loss_that_is_no_number_leaves_the_last_checkpoint_to_go_on_from(folder: Path) -> None:
    backbone = AutoModelForCausalLM.from_pretrained(folder / "backbone")
    with torch.no_grad():
        backbone.model.layers[0].mlp.down_proj.weight.fill_(float("nan"))
    backbone.save_pretrained(folder / "backbone")
    with pytest.raises(TrainingError, match="group 0 of 6 is nan"):
        run(small_model.settings(folder, "finetune"), folder)


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("x"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
@pytest.mark.parametrize(
    "where",
    ["kit.training.run.fit_whitening", "kit.training.loop.average_of", "kit.training.loop.Training.run", "torch.load"],
)
def test_out_of_memory_says_which_setting_to_lower_and_harms_no_checkpoint(
    folder: Path, error: Exception, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, told = small_model.settings(folder, "trm"), []
    run(settings, folder, watchers=Watchers(update=told.append, should_stop=lambda: len(told) >= 2))
    with monkeypatch.context() as patch:
        patch.setattr(where, Mock(side_effect=error))
        with pytest.raises(TrainingError, match="halve batch_size and double gradient_accumulation"):
            run(settings, folder, resume_from=settings.output_dir)
    assert run(settings, folder, resume_from=settings.output_dir).is_whole


def test_a_backbone_that_memory_does_not_hold_is_told_as_such(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", Mock(side_effect=torch.OutOfMemoryError("CUDA")))
    with pytest.raises(EngineError, match=r"while loading the model: end what else holds memory.*kit train: --bf16"):
        run(small_model.settings(folder, "trm"), folder)


@pytest.mark.parametrize("method", ["trm", "finetune"])
def test_bfloat16_products_leave_float32_weights(folder: Path, method: str) -> None:
    settings = small_model.settings(folder, method, bf16=True, epochs=6)
    run(settings, folder)
    state = checkpoint.load(settings.output_dir / "checkpoint.pt")
    assert {tensor.dtype for tensor in state["weights"].values()} == {torch.float32}
    assert losses(settings.output_dir)[-1] < losses(settings.output_dir)[0] - 0.2


@pytest.mark.parametrize("form", ["states", "token"])
def test_every_form_of_recursion_trains(folder: Path, form: str) -> None:
    assert run(small_model.settings(folder, "trm", form=form, epochs=1), folder).is_whole


def test_truncated_gradients_and_several_feature_layers_train(folder: Path) -> None:
    settings = small_model.settings(
        folder, "trm", with_grad=1, feature_layers=(0, 1), gradient_accumulation=2, T_spread="fixed", epochs=1
    )
    assert run(settings, folder).is_whole


def run_two_processes(folder: Path, changes: dict[str, Any], *, stop_after: int) -> None:
    """torchrun with gloo: `accelerate launch --cpu` would silently run one."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    script = [str(Path(__file__).parent / "two_processes.py"), str(folder), json.dumps(changes), str(stop_after)]
    ran = subprocess.run([*command, *script], capture_output=True, text=True, check=False, env=environment)
    assert ran.returncode == 0, ran.stderr
    head = json.loads((folder / "two/log.jsonl").read_text(encoding="utf-8").splitlines()[0])["head"]
    assert head["processes"] == 2


def write_data_with_steps(path: Path) -> None:
    """Of one to four steps, so that a batch's shares measure different ones."""
    rows = [{"problem": f"{a}?", "answer": a, "steps": list(range(a, a + number))} for a, number in
            enumerate([0, 0, 3, 3, 1, 1, 2, 2] * 2, start=10)]  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("answers", ["worked", "at_once"])
def test_two_processes_have_the_losses_and_weights_of_one(folder: Path, answers: str) -> None:
    small_model.write_data(folder / "train.jsonl", num_rows=13)
    if answers == "at_once":
        write_data_with_steps(folder / "train.jsonl")
    run(small_model.settings(folder, "trm", output_dir=folder / "one", answers=answers), folder)
    run_two_processes(folder, {"answers": answers}, stop_after=MANY)
    assert losses(folder / "two") == pytest.approx(losses(folder / "one"), rel=1e-4)
    measured = [each for each in updates_of(folder / "one")[-1] if each.startswith("solved/")]
    assert bool(measured) == (answers == "at_once")
    for first, second in zip(updates_of(folder / "one"), updates_of(folder / "two"), strict=True):
        assert [second.get(name) for name in measured] == pytest.approx([first.get(name) for name in measured])
    one, two = weights(folder, "trm", "one"), weights(folder, "trm", "two")
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-2, atol=2e-3)


@pytest.mark.slow
@pytest.mark.long
def test_processes_stop_together_where_one_of_them_is_asked_to(folder: Path) -> None:
    run_two_processes(folder, {}, stop_after=2)
    assert checkpoint.load(folder / "two" / CHECKPOINT)["num_groups_done"] == 2
    assert not (folder / "two/trm").exists()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"epochs": 0}, "epochs must be >= 1"),
        ({"lr": -1.0}, "lr must be > 0"),
        ({"freeze_lm_head": False}, "freeze_lm_head must be true for a TRM"),
        ({"T_recursion": 10_000}, "T_recursion"),
        ({"warmup": -3}, "warmup must be >= 0, got -3"),
        ({"lr": math.inf}, "lr must be > 0 and finite, got inf"),
        ({"kl": math.nan}, "kl must be >= 0 and finite"),
        ({"halting": -1.0}, "halting must be >= 0 and finite"),
        ({"with_grad": 0}, "with_grad must be >= 1"),
        ({"feature_layers": ()}, "feature_layers must be at least one"),
        ({"form": "anker"}, "form must be anchor or states or token"),
        ({"T_spread": "curriculum"}, "answers must be at_once for T_spread curriculum"),
        ({"weight_decay": math.inf}, "weight_decay must be >= 0 and finite"),
        ({"seed": -1}, r"seed must be in \[0, 2\^63\), got -1"),
        ({"seed": 10**23}, "seed must be in"),
    ],
)
def test_settings_that_make_no_sense_are_refused(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingError, match=told):
        small_model.settings(tmp_path, "trm", **changes)


def test_more_layers_than_the_backbone_has_are_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="n_layers must be at most 2"):
        run(small_model.settings(folder, "finetune", n_layers=3), folder)


def test_a_folder_without_a_run_cannot_be_resumed(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="takes the folder of a run"):
        read_settings(tmp_path)


def write_chains(path: Path) -> Path:
    """Step r says r, so that the first step is learned in some updates; the answer of k steps is k."""
    lines = [
        {"problem": f"{k} steps from {a}?", "answer": str(k), "steps": list(range(1, k))}
        for a in range(1, 5)
        for k in (1, 2, 3)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def test_a_curriculum_goes_deeper_as_the_steps_that_the_examples_tell_are_learned(folder: Path) -> None:
    write_chains(folder / "train.jsonl")
    changes = {"answers": "at_once", "T_spread": "curriculum", "T_recursion": 2, "N_supervision": 1, "epochs": 18}
    run(small_model.settings(folder, "trm", **changes), folder)
    updates = updates_of(folder / "trm")
    assert {"reached/1", "solved/1", "solved/3"} <= updates[0].keys()
    assert "right/3" not in updates[0]  # its first stage is T = 1 or 2
    assert updates[-1]["loss"] < updates[0]["loss"]
    state = checkpoint.load(folder / "trm" / CHECKPOINT)["objective"]
    assert state["stage"] > 1


def test_a_curriculum_without_steps_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match=r"no example of .*train\.jsonl tells its steps"):
        run(small_model.settings(folder, "trm", T_spread="curriculum", answers="at_once"), folder)
