"""Every form of calls through the real tokenizers of its models: streamed token by token, split anywhere, read back."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kit.engines.text.chat import render
from kit.engines.text.encoding import PromptEncoder
from kit.engines.text.transcript import Detokenizer
from kit.errors import EngineError
from kit.models.calls.deepseek import DEEPSEEK
from kit.models.calls.form import CallForm
from kit.models.calls.gemma import GEMMA
from kit.models.calls.hermes import HERMES
from kit.models.calls.llama import LLAMA_JSON, PYTHONIC
from kit.models.calls.splitting import Said, advice_for, form_of, split_tool_calls
from kit.models.calls.xml import DSML, GLM, QWEN_XML
from kit.models.gpt_oss import HarmonyReader
from kit.prompting import PYTHON_TOOL
from kit.sampling import Message, Prompt, ToolCall
from tests import npm_tokenizers
from tests.models.calls import test_splitting as written

pytestmark = pytest.mark.long  # tokenizers of 10 to 30 MB are fetched, and loading one takes seconds

CODE = 'from math import comb\nfor é in range(3):\n    print("a < b && </think>", f"{é}", \'\\n\')'
WRITERS: list[tuple[str, CallForm, Callable[[str], str]]] = [
    ("qwen3", HERMES, written._hermes),
    ("qwen3", QWEN_XML, written._qwen),
    ("qwen3", GLM, written._glm45),
    ("deepseek_v3", DEEPSEEK, written._deepseek_v3),
    ("deepseek_v3", DEEPSEEK, written._deepseek_v31),
    ("deepseek_v3", DSML, written._dsml),
    ("llama3_1", LLAMA_JSON, written._llama_json),
    ("llama3_1", PYTHONIC, written._pythonic),
    ("gemma3", GEMMA, written._gemma),
]
every_writer = pytest.mark.parametrize(
    ("name", "form", "write"), WRITERS, ids=[f"{name}-{form.name}-{n}" for n, (name, form, _) in enumerate(WRITERS)]
)


@functools.cache
def tokenizer(name: str) -> Any:
    return npm_tokenizers.tokenizer(name)


def ids_of(name: str, text: str) -> list[int]:
    return list(tokenizer(name)(text, add_special_tokens=False)["input_ids"])


def streamed(name: str, text: str, *, step: int, form: CallForm) -> Iterator[str]:
    """The text as an engine gives it to the kit: so many tokens at a time, special ones as the form wants them."""

    def decode(ids: Any) -> str:
        read: str = tokenizer(name).decode(
            ids, skip_special_tokens=not form.is_special, clean_up_tokenization_spaces=False
        )
        return read

    detokenizer, ids = Detokenizer(decode), ids_of(name, text)
    for place in range(0, len(ids), step):
        yield detokenizer.add(ids[place : place + step], is_last=place + step >= len(ids))


@every_writer
@pytest.mark.parametrize("step", [1, 2, 7])
def test_a_call_comes_out_of_the_tokens_as_the_model_wrote_it(
    name: str, form: CallForm, write: Callable[[str], str], step: int
) -> None:
    text = write(CODE)
    assert "".join(streamed(name, text, step=step, form=form)) == text
    (call,) = split_tool_calls(text, form).tool_calls
    assert json.loads(call.arguments) == {"code": CODE}


@every_writer
def test_a_call_that_is_cut_off_is_none_and_its_advice_is_in_its_own_form(
    name: str, form: CallForm, write: Callable[[str], str]
) -> None:
    ids = ids_of(name, write(CODE))
    cut = "".join(streamed(name, tokenizer(name).decode(ids[: len(ids) // 2]), step=1, form=form))
    if form is LLAMA_JSON or form is PYTHONIC:
        assert all(json.loads(call.arguments) != {"code": CODE} for call in split_tool_calls(cut, form).tool_calls)
        return
    assert split_tool_calls(cut, form) == Said(cut)
    advice = advice_for(cut)
    assert advice is not None
    assert advice.startswith("The call is not")


def test_deepseeks_marks_are_tokens_of_their_own_and_stay_in_the_text() -> None:
    for mark in ("<｜tool▁calls▁begin｜>", "<｜tool▁sep｜>", "<｜tool▁call▁end｜>"):
        assert len(ids_of("deepseek_v3", mark)) == 1
        assert "".join(streamed("deepseek_v3", mark, step=1, form=DEEPSEEK)) == mark


def test_qwens_own_template_writes_a_call_that_the_kit_reads_and_takes_its_answer_back() -> None:
    qwen = tokenizer("qwen3")
    assert form_of(qwen.chat_template) is HERMES
    call = ToolCall(id="call_0", name="python", arguments=json.dumps({"code": CODE}, ensure_ascii=False))
    asked, turn = Message("user", "What is 6*7?"), Message("assistant", "Let me see.", tool_calls=(call,))
    chat = Prompt((asked, turn, Message("tool", "42", call_id="call_0")), tools=(PYTHON_TOOL,))
    text = render(qwen, chat).text
    begin = text.index("<|im_start|>assistant\n") + len("<|im_start|>assistant\n")
    said = split_tool_calls(text[begin : text.index("<|im_end|>", begin)], HERMES)
    assert (said.text, said.tool_calls) == ("Let me see.", (call,))
    assert text.endswith("<tool_response>\n42\n</tool_response><|im_end|>\n<|im_start|>assistant\n")
    encoded = PromptEncoder(qwen).encoded(chat)
    assert "".join(qwen.decode(encoded.ids)) == text


@pytest.mark.parametrize("name", ["deepseek_v3", "llama3_1"])
def test_a_template_without_a_form_for_tools_is_refused_with_the_fix(name: str) -> None:
    """These packages' templates write no tools, as those of the models' first releases did not."""
    with pytest.raises(EngineError, match="no form for tools"):
        render(tokenizer(name), Prompt((Message("user", "What is 6*7?"),), tools=(PYTHON_TOOL,)))


@pytest.mark.parametrize("step", [1, 3])
def test_harmony_is_read_from_gpt_oss_own_tokens(step: int) -> None:
    turn = (
        "<|channel|>analysis<|message|>6 times 7?<|end|><|start|>assistant<|channel|>commentary to=functions.python "
        f"<|constrain|>json<|message|>{json.dumps({'code': CODE})}<|call|>"
    )
    reader = HarmonyReader()
    pieces = list(streamed("gptoss", turn, step=step, form=LLAMA_JSON))  # a form whose marks are special
    text = "".join(reader.add(piece, is_last=number == len(pieces) - 1) for number, piece in enumerate(pieces))
    said = split_tool_calls(text, HERMES)
    assert said.text.startswith("<think>6 times 7?")
    assert [json.loads(call.arguments) for call in said.tool_calls] == [{"code": CODE}]
