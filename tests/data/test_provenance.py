"""What weights were trained on, beside them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from kit.data.provenance import PROVENANCE, Provenance, read_provenance, write_provenance
from kit.errors import InputError

TOLD = Provenance(training_data="gsm8k: 7 worked solutions", data_sha256="ab", trainable_parameters=3, note="LoRA")


def test_what_is_written_is_read_and_a_folder_without_it_says_nothing(tmp_path: Path) -> None:
    assert read_provenance(tmp_path) is None
    write_provenance(tmp_path, TOLD)
    assert read_provenance(tmp_path) == TOLD


def test_what_an_older_kit_wrote_names_no_backbone(tmp_path: Path) -> None:
    told = {name: value for name, value in asdict(TOLD).items() if name != "backbone_sha256"}
    (tmp_path / PROVENANCE).write_text(json.dumps(told), encoding="utf-8")
    assert read_provenance(tmp_path) == TOLD


@pytest.mark.parametrize("content", ["{", "[]", "{}", json.dumps({**asdict(TOLD), "trainable_parameters": "many"})])
def test_a_damaged_file_is_named_with_what_to_do(tmp_path: Path, content: str) -> None:
    (tmp_path / PROVENANCE).write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=rf"{PROVENANCE}.*remove it"):
        read_provenance(tmp_path)
