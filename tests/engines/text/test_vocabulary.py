"""gpt-oss's file of tokens, made from its tokenizer.json: byte for byte, or not at all."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.engines.text.vocabulary import complete_vocabulary, tiktoken_file
from kit.models.gpt_oss import VOCABULARY


def letters_of(token: bytes) -> str:
    """A slow account of GPT-2's: bytes that print stand for themselves, the others follow from U+0100 on."""
    shown = [chr(byte) for byte in range(256) if 33 <= byte <= 126 or 161 <= byte <= 172 or byte >= 174]
    hidden = [byte for byte in range(256) if chr(byte) not in shown]
    return "".join(chr(byte) if chr(byte) in shown else chr(256 + hidden.index(byte)) for byte in token)


@given(st.lists(st.binary(min_size=1, max_size=6), min_size=1, unique=True))
def test_each_token_is_a_line_of_its_bytes_and_its_number(tokens: list[bytes]) -> None:
    made = tiktoken_file({letters_of(token): number for number, token in reversed(list(enumerate(tokens)))})
    rows = [line.split(b" ") for line in made.splitlines()]
    assert [(int(number), base64.b64decode(text)) for text, number in rows] == list(enumerate(tokens))
    assert made.endswith(b"\n")


def model(folder: Path, *, kind: str = "gpt_oss", tokenizer: object = None) -> Path:
    (folder / "config.json").write_text(json.dumps({"model_type": kind}))
    if tokenizer is not None:
        (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    return folder


@pytest.mark.parametrize("tokenizer", [None, [], {"model": {"vocab": {"日": 0}}}, {"model": {"vocab": {"a": 0}}}])
def test_what_would_not_be_harmonys_own_file_is_not_written_and_logged(
    tokenizer: object, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    complete_vocabulary(model(tmp_path, tokenizer=tokenizer))
    assert not (tmp_path / VOCABULARY[0]).exists()
    assert VOCABULARY[0] in caplog.text


def test_another_models_folder_and_a_file_that_is_there_are_left_alone(tmp_path: Path) -> None:
    complete_vocabulary(model(tmp_path, kind="qwen3", tokenizer={"model": {"vocab": {"a": 0}}}))
    assert not (tmp_path / VOCABULARY[0]).exists()
    complete_vocabulary(tmp_path / "absent")
    (tmp_path / VOCABULARY[0]).write_text("mine")
    complete_vocabulary(model(tmp_path))
    assert (tmp_path / VOCABULARY[0]).read_text() == "mine"


def test_the_file_is_written_where_its_hash_is_the_expected_one(tmp_path: Path) -> None:
    content = b"YQ== 0\nIGI= 1\n"
    expected = ("o200k_base.tiktoken", hashlib.sha256(content).hexdigest())
    complete_vocabulary(model(tmp_path, tokenizer={"model": {"vocab": {"Ġb": 1, "a": 0}}}), expected=expected)
    assert (tmp_path / "o200k_base.tiktoken").read_bytes() == content
