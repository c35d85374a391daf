from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

from kit.assets import TINY_MODEL
from kit.data.examples import DataSet
from kit.data.provenance import Provenance, write_provenance
from kit.engines.text.model_folder import auto_dtype
from kit.errors import MissingError
from kit.evaluation.head import EvalModel, make_head, session_facts
from kit.trm.checkpoint import save_untrained
from tests.engines.lora import save_adapter
from tests.evaluation.asked import data, plan

MODEL = EvalModel(name="tiny", folder=TINY_MODEL)


def test_a_head_tells_all_that_completions_follow_from_and_no_folder(tmp_path: Path) -> None:
    shutil.copytree(TINY_MODEL, tmp_path / "moved")
    save_untrained(tmp_path / "trm", backbone_folder=tmp_path / "moved")
    model = EvalModel(name="tiny", folder=tmp_path / "moved", trm=tmp_path / "trm", engine="trm")
    head = make_head(model, plan())
    assert head["model"]["sha256"] == make_head(MODEL, plan())["model"]["sha256"]
    assert head["model"]["trainable_parameters"] == head["model"]["trm"]["num_parameters"] > 0
    assert head["data"] == {"name": "sums", "split": "test", "sha256": "of 6", "num_examples": 6}
    assert str(tmp_path) not in str(head)


def test_kit_and_machine_belong_to_a_session_and_not_to_the_head() -> None:
    session = session_facts(dataclasses.replace(MODEL, num_threads=3), commit="abc")
    assert session["kit"]["commit"] == "abc"
    assert session["num_threads"] == 3
    assert {"python", "platform", "cpus", "gpus", "packages"} <= session["machine"].keys()
    assert not session.keys() & make_head(MODEL, plan()).keys()


def test_the_dtype_that_auto_stands_for_is_told() -> None:
    wanted = auto_dtype(TINY_MODEL, device="cpu")
    assert dataclasses.replace(MODEL, device="cpu").facts["engine"]["dtype"] == wanted
    assert dataclasses.replace(MODEL, device="cuda").facts["engine"]["dtype"] == "bfloat16"
    assert dataclasses.replace(MODEL, dtype="float32").facts["engine"]["dtype"] == "float32"


def test_an_adapter_that_was_trained_on_other_weights_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    adapter = save_adapter(tmp_path / "adapter", rank=2)
    model = dataclasses.replace(MODEL, adapter=adapter)
    told = Provenance(training_data="x: 1 answers", data_sha256="ab", trainable_parameters=1, note="LoRA")
    for sha256, num_warnings in (("", 0), (model.facts["model"]["sha256"], 0), ("f" * 64, 1)):
        write_provenance(adapter, dataclasses.replace(told, backbone_sha256=sha256))
        caplog.clear()
        assert model.facts["model"]["adapter"]["name"] == "adapter"
        assert sum("was trained on weights of hash ffffffffffff…" in each for each in caplog.messages) == num_warnings


def test_a_server_is_told_without_its_address() -> None:
    assert dataclasses.replace(MODEL, engine="http://127.0.0.1:8000").facts["engine"]["kind"] == "server"


def test_a_folder_without_weights_is_named(tmp_path: Path) -> None:
    shutil.copy(TINY_MODEL / "config.json", tmp_path)
    with pytest.raises(MissingError, match=f"{tmp_path}"):
        make_head(EvalModel(name="x", folder=tmp_path), plan())


@pytest.mark.parametrize(
    ("name", "source", "label"),
    [
        ("gsm8k", "openai/gsm8k", "gsm8k"),
        ("gsm8k=a/b.jsonl", "a/b.jsonl", "gsm8k"),
        ("gsm8k=a", "a/test.jsonl", "gsm8k"),
        ("a/b.jsonl", "a/b.jsonl", "b.jsonl"),
        ("a/b", "a/b/train.jsonl", "b"),
        ("owner/set", "owner/set", "owner/set"),
        ("reasoning_gym:gcd?size=3", "reasoning_gym:gcd?size=3", "reasoning_gym:gcd?size=3"),
    ],
)
def test_a_set_is_called_by_its_name_without_folders(name: str, source: str, label: str) -> None:
    named: DataSet = dataclasses.replace(data(), name=name, source=source)
    assert named.label == label
