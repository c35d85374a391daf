"""JSON from outside, however deep, is one kind of error wherever the kit reads it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.config import nested
from kit.engines.text.model_folder import check_model_folder
from kit.errors import InputError
from kit.json_text import MAX_DEPTH, read_json
from kit.kaggle.dataset.manifest import MANIFEST_NAME, load_manifest
from kit.kaggle.environment import SETTINGS_VARIABLE
from kit.kaggle.notebook.submission import overridden
from kit.kaggle.wheels.lockfile import load_lock
from kit.recipes.recipe_file import chosen
from kit.recipes.settings import Settings
from kit.safetensors_header import read_header

NESTS = ("[" * 100_000, '{"a":' * 100_000, "[" * 5_000 + "]" * 5_000, "[" * 300 + "]" * 300)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=20,
)


@given(values)
def test_reads_what_json_reads(value: Any) -> None:
    assert read_json(json.dumps(value)) == read_json(json.dumps(value).encode()) == value


@pytest.mark.parametrize("text", ["", "{", "[1", b"\xff", "nul"])
def test_refuses_what_json_refuses(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_json(text)


@pytest.mark.parametrize("nest", NESTS)
def test_what_is_nested_without_end_is_a_value_error(nest: str) -> None:
    with pytest.raises(ValueError, match=r"nested deeper than|Expecting"):
        read_json(nest)


def test_what_is_nested_as_deep_as_allowed_is_read() -> None:
    assert read_json("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    with pytest.raises(ValueError, match="nested deeper"):
        read_json("[" * (MAX_DEPTH + 2) + "]" * (MAX_DEPTH + 2))


def manifest(folder: Path, nest: str) -> None:
    (folder / MANIFEST_NAME).write_text(nest)
    load_manifest(folder)


def model_config(folder: Path, nest: str) -> None:
    (folder / "config.json").write_text(nest)
    check_model_folder(folder)


def safetensors(folder: Path, nest: str) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(len(nest).to_bytes(8, "little") + nest.encode())
    read_header(path)


def settings(_: Path, nest: str) -> None:
    overridden(Settings(), {SETTINGS_VARIABLE: nest})


def recipe(folder: Path, nest: str) -> None:
    (folder / "recipe.toml").write_text(f"x = {nest}")
    chosen(folder / "recipe.toml", ())


def lock(folder: Path, nest: str) -> None:
    (folder / "pylock.cpu.toml").write_text(f"x = {nest}")
    load_lock(folder / "pylock.cpu.toml")


@pytest.mark.parametrize("nest", NESTS)
@pytest.mark.parametrize("reads", [manifest, model_config, safetensors, settings, recipe, lock])
def test_every_reader_names_its_file_in_one_error(
    tmp_path: Path, reads: Callable[[Path, str], None], nest: str
) -> None:
    with pytest.raises(InputError, match=r"manifest|config\.json|safetensors|KIT_|recipe|pylock"):
        reads(tmp_path, nest)


def test_a_flag_of_that_kind_is_a_text() -> None:
    assert nested([f"solver.width={NESTS[0]}"]) == {"solver": {"width": NESTS[0]}}
