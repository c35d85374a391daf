"""What a model and an engine that are named mean in settings."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from kit import checkout
from kit.assets import TINY_MODEL, TINY_TRM
from kit.errors import MissingError
from kit.recipes.choices import chosen_trm, engine_changes, engine_for, engine_kind


def interpreter(path: Path, *, prints: str) -> Path:
    path.write_text(f"#!/bin/sh\necho {prints}\n")
    path.chmod(0o755)
    return path


def test_says_what_to_do_where_no_vllm_was_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkout, "SOURCE", tmp_path)
    with pytest.raises(MissingError, match=r"no vLLM in .*\.venv-vllm; `make environment-vllm`"):
        engine_changes("vllm", {}, has_wheels=False)


def test_takes_a_named_python_and_makes_its_path_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    python = interpreter(tmp_path / "python", prints="True kit_trm")
    changes = {"engine": {"vllm": {"python": "python", "preset": "cpu"}}}
    told = engine_changes("vllm-trm", changes, has_wheels=True)
    assert told["engine"] == {"kind": "vllm-trm", "vllm": {"python": str(python), "preset": "cpu"}}
    assert told["solver"]["depths"] == [3, 5, 10]


def test_an_engine_that_is_set_says_more_than_the_flag() -> None:
    told = engine_changes("transformers", {"engine": {"kind": "vllm"}}, has_wheels=True)
    assert told == {"engine": {"kind": "vllm"}}


def test_leaves_the_python_to_the_wheels() -> None:
    assert engine_changes("vllm", {}, has_wheels=True) == {"engine": {"kind": "vllm"}}


@pytest.mark.parametrize(
    ("engine", "model", "trm", "expected"),
    [
        (None, TINY_MODEL, None, "trm"),
        (None, Path("mine"), None, "transformers"),
        (None, Path("mine"), Path("my-trm"), "trm"),
        ("vllm", TINY_MODEL, None, "vllm"),
    ],
    ids=str,
)
def test_unless_an_engine_is_named_it_recurses_where_there_is_a_trm(
    engine: str | None, model: Path, trm: Path | None, expected: str
) -> None:
    assert engine_for(engine, model=model, trm=trm) == expected


@pytest.mark.parametrize(("changes", "kind"), [({}, "trm"), ({"engine": {"kind": "vllm"}}, "vllm")])
def test_a_set_kind_says_more_than_the_flag(changes: dict[str, object], kind: str) -> None:
    assert engine_kind("trm", changes) == kind


def test_the_shipped_model_has_its_own_trm(tmp_path: Path) -> None:
    assert chosen_trm(None, kind="vllm-trm", model=TINY_MODEL, out=tmp_path, tell=print) == TINY_TRM
    assert not list(tmp_path.iterdir())


def test_a_recursive_engine_without_a_trm_gets_an_untrained_one_and_says_so(tmp_path: Path) -> None:
    told: list[str] = []
    model = shutil.copytree(TINY_MODEL, tmp_path / "another")
    trm = chosen_trm(None, kind="trm", model=model, out=tmp_path, tell=told.append)
    assert trm is not None
    assert list(trm.glob("*.safetensors"))
    assert "making an untrained one" in told[0]


def test_a_trm_that_is_named_is_taken_and_none_is_made_for_other_engines(tmp_path: Path) -> None:
    assert chosen_trm(tmp_path / "mine", kind="trm", model=TINY_MODEL, out=tmp_path, tell=print) == tmp_path / "mine"
    assert chosen_trm(None, kind="vllm", model=TINY_MODEL, out=tmp_path, tell=print) is None
    assert not list(tmp_path.iterdir())
