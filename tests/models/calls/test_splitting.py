"""Calls in every form: what is taken off a text's end, and what is left as it is."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from kit.models.calls.deepseek import DEEPSEEK, KIMI
from kit.models.calls.form import CallForm
from kit.models.calls.gemma import GEMMA
from kit.models.calls.hermes import HERMES
from kit.models.calls.llama import LLAMA_JSON, MISTRAL, PYTHONIC
from kit.models.calls.splitting import FORMS, Said, advice_for, form_of, split_tool_calls
from kit.models.calls.xml import DSML, GLM, MINIMAX, QWEN_XML, SEED_XML

ARGUMENTS = "<arguments>"  # where a form's text has the arguments as JSON
CODE = "<the code>"  # where it has the code as it is


def _hermes(code: str) -> str:
    return f"<tool_call>\n{json.dumps({'name': 'python', 'arguments': {'code': code}})}\n</tool_call>"


def _qwen(code: str, tag: str = "tool_call") -> str:
    return f"<{tag}>\n<function=python>\n<parameter=code>\n{code}\n</parameter>\n</function>\n</{tag}>"


def _glm45(code: str) -> str:
    return f"<tool_call>python\n<arg_key>code</arg_key>\n<arg_value>{code}</arg_value>\n</tool_call>"


def _glm47(code: str) -> str:
    return f"<tool_call>python<arg_key>code</arg_key><arg_value>{code}</arg_value></tool_call>"


def _minimax(code: str) -> str:
    call = f'<invoke name="python">\n<parameter name="code">{code}</parameter>\n</invoke>'
    return f"<minimax:tool_call>\n{call}\n</minimax:tool_call>"


def _dsml(code: str) -> str:
    parameter = f'<｜DSML｜parameter name="code" string="true">{code}</｜DSML｜parameter>'
    return (
        f'<｜DSML｜function_calls>\n<｜DSML｜invoke name="python">\n{parameter}\n</｜DSML｜invoke>\n'
        "</｜DSML｜function_calls>"
    )


def _deepseek_v3(code: str) -> str:
    arguments = json.dumps({"code": code})
    call = f"<｜tool▁call▁begin｜>function<｜tool▁sep｜>python\n```json\n{arguments}\n```<｜tool▁call▁end｜>"
    return f"<｜tool▁calls▁begin｜>{call}<｜tool▁calls▁end｜>"


def _deepseek_v31(code: str) -> str:
    call = f"<｜tool▁call▁begin｜>python<｜tool▁sep｜>{json.dumps({'code': code})}<｜tool▁call▁end｜>"
    return f"<｜tool▁calls▁begin｜>{call}<｜tool▁calls▁end｜>"


def _kimi(code: str) -> str:
    call = f"functions.python:0<|tool_call_argument_begin|>{json.dumps({'code': code})}<|tool_call_end|>"
    return f"<|tool_calls_section_begin|><|tool_call_begin|>{call}<|tool_calls_section_end|>"


def _gemma(code: str) -> str:
    return f'<|tool_call>call:python{{code:<|"|>{code}<|"|>}}<tool_call|>'


def _mistral_list(code: str) -> str:
    return f"[TOOL_CALLS]{json.dumps([{'name': 'python', 'arguments': {'code': code}}])}"


def _mistral_named(code: str) -> str:
    return f"[TOOL_CALLS]python[ARGS]{json.dumps({'code': code})}"


def _llama_json(code: str) -> str:
    return f"<|python_tag|>{json.dumps({'name': 'python', 'parameters': {'code': code}})}"


def _pythonic(code: str) -> str:
    return f"<|python_start|>[python(code={code!r})]<|python_end|>"


_SECTION, _AT_END = "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"

Writer = Callable[[str], str]
WRITTEN: list[tuple[CallForm, Writer]] = [
    (HERMES, _hermes),
    (QWEN_XML, _qwen),
    (SEED_XML, lambda code: _qwen(code, "seed:tool_call")),
    (GLM, _glm45),
    (GLM, _glm47),
    (MINIMAX, _minimax),
    (DSML, _dsml),
    (DEEPSEEK, _deepseek_v3),
    (DEEPSEEK, _deepseek_v31),
    (KIMI, _kimi),
    (GEMMA, _gemma),
    (MISTRAL, _mistral_list),
    (MISTRAL, _mistral_named),
    (LLAMA_JSON, _llama_json),
    (PYTHONIC, _pythonic),
]
every_form = pytest.mark.parametrize(("form", "write"), WRITTEN, ids=[form.name for form, _ in WRITTEN])
MARKS = sorted({mark for _, write in WRITTEN for mark in re.findall(r"<[^>]+>|\[[A-Z_]+\]|\w+", write("x"))})

# Code as models write it: quotes, angle brackets, braces, and what looks like markup of another family.
code_texts = st.lists(
    st.sampled_from(
        [
            "print(2)",
            "\n",
            "    ",
            "x < 3",
            '"',
            "'",
            "\\n",
            "{",
            "}",
            "]",
            "é",
            "if a > b:",
            "</think>",
            "<b>",
            "```",
            "#",
        ]
    ),
    min_size=1,
    max_size=12,
).map(lambda parts: "a" + "".join(parts) + "z")


def codes(said: Said) -> list[str]:
    return [json.loads(call.arguments)["code"] for call in said.tool_calls]


@every_form
@given(code=code_texts)
def test_any_code_comes_out_as_the_model_wrote_it(form: CallForm, write: Writer, code: str) -> None:
    said = split_tool_calls(f"First.\n{write(code)}" if form is not LLAMA_JSON else write(code), form, num_earlier=3)
    assert codes(said) == [code]
    assert [(call.id, call.name) for call in said.tool_calls] == [("call_3", "python")]
    assert said.text == ("" if form is LLAMA_JSON else "First.")


@every_form
def test_what_follows_the_last_call_is_dropped(form: CallForm, write: Writer) -> None:
    if form is PYTHONIC or form is LLAMA_JSON:
        pytest.skip("this form ends the turn: nothing can follow that is not part of it")
    assert codes(split_tool_calls(f"{write('1')}\nThe output is 7.", form)) == ["1"]


@every_form
def test_a_closed_thought_may_speak_of_calls_and_an_open_one_makes_them(form: CallForm, write: Writer) -> None:
    if form is LLAMA_JSON:
        pytest.skip("models of this form do not think")
    closed = f"<think>I could write {write('1')} here</think>"
    assert split_tool_calls(f"{closed}4", form) == Said(f"{closed}4")
    assert codes(split_tool_calls(f"{closed}\n\n{write('2')}", form)) == ["2"]
    assert codes(split_tool_calls(f"<think>Let me see.\n{write('3')}", form)) == ["3"]


@every_form
@given(data=st.data())
def test_a_call_that_is_cut_off_anywhere_is_none(form: CallForm, write: Writer, data: st.DataObject) -> None:
    if form is LLAMA_JSON or write is _mistral_list or write is _mistral_named:
        whole = write("print(2)")
        upto = data.draw(st.integers(0, len(whole) - 1))
    else:
        whole = write("print(2)")
        upto = data.draw(st.integers(0, len(whole.rstrip(">")) // 2))
    assume(not whole[:upto].endswith("<|python_tag|>"))
    assert split_tool_calls(whole[:upto], form).tool_calls == ()


@every_form
@given(
    text=st.lists(st.sampled_from([*MARKS, "</think>", "{", "}", '"', ":", "\n", "print(2)"]), max_size=25).map("".join)
)
def test_any_text_is_split_into_a_beginning_of_it_and_calls(form: CallForm, write: Writer, text: str) -> None:
    said = split_tool_calls(text, form)
    assert text.startswith(said.text)
    for call in said.tool_calls:
        assert isinstance(json.loads(call.arguments), dict)
        assert call.name.strip()
    if not said.tool_calls:
        assert said.text == text


@pytest.mark.parametrize(
    ("form", "text", "expected"),
    [
        # several in one turn
        (QWEN_XML, _qwen("1") + "\n" + _qwen("2"), ["1", "2"]),
        (GLM, _glm47("1") + _glm45("2"), ["1", "2"]),
        (MINIMAX, _minimax("1") + _minimax("2"), ["1", "2"]),
        (MINIMAX, _minimax("1").replace("</minimax:tool_call>", "") + _minimax("2").split("\n", 1)[1], ["1", "2"]),
        (DEEPSEEK, _deepseek_v31("1").removesuffix(_AT_END) + _deepseek_v31("2").removeprefix(_SECTION), ["1", "2"]),
        (GEMMA, _gemma("1") + _gemma("2"), ["1", "2"]),
        (LLAMA_JSON, _llama_json("1") + "; " + _llama_json("2").removeprefix("<|python_tag|>"), ["1", "2"]),
        (PYTHONIC, "[python(code='1'), python(code='2')]", ["1", "2"]),
        # without the outer tag, which small models forget
        (QWEN_XML, "<function=python>\n<parameter=code>\n1\n</parameter>\n</function>", ["1"]),
        (MINIMAX, '<invoke name="python"><parameter name="code">1</parameter></invoke>', ["1"]),
        # the closing tags themselves in a string
        (QWEN_XML, _qwen("'</parameter>' + '</function>'"), ["'</parameter>' + '</function>'"]),
        (GLM, _glm47("'</arg_value>'"), ["'</arg_value>'"]),
        (HERMES, _hermes("'</tool_call>'"), ["'</tool_call>'"]),
        # bare code for Llama's own interpreter
        (LLAMA_JSON, "<|python_tag|>print(2)", ["print(2)"]),
    ],
)  # fmt: skip
def test_what_models_write(form: CallForm, text: str, expected: list[str]) -> None:
    assert codes(split_tool_calls(text, form)) == expected


@pytest.mark.parametrize(
    ("form", "text"),
    [
        (QWEN_XML, "<tool_call>\n<function=python>\n<parameter=code>\n1"),
        (QWEN_XML, '<tool_call>{"name": "python"}</tool_call>'),
        (QWEN_XML, _qwen("1") + "<tool_call><function="),
        (GLM, "<tool_call>python<arg_key>code</arg_key><arg_value>1"),
        (DEEPSEEK, "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>python<｜tool▁sep｜>{<｜tool▁call▁end｜>"),
        (KIMI, "<|tool_calls_section_begin|><|tool_call_begin|>python:0"),
        (GEMMA, '<|tool_call>call:python{code:<|"|>1'),
        (GEMMA, "<|tool_call>call:python" + "{a:" * 500),
        (MISTRAL, "[TOOL_CALLS]python[ARGS]{"),
        (PYTHONIC, "[python(" + "[" * 5_000 + "]"),
        (LLAMA_JSON, '<|python_tag|>{"name": "python"'),
    ],
)
def test_a_malformed_call_leaves_the_text_as_it_is_and_has_an_advice(form: CallForm, text: str) -> None:
    assert split_tool_calls(text, form) == Said(text)
    assert advice_for(text) is not None


def test_a_text_without_a_call_has_no_advice() -> None:
    assert advice_for("The answer is \\boxed{7}, as f(x) = {1} and [python] show.") is None
    assert advice_for("<think>perhaps <tool_call> here</think>7") is None


@pytest.mark.parametrize(
    ("form", "template"),
    [
        (HERMES, "…<tool_call>\\n{{ call | tojson }}\\n</tool_call>…"),
        (QWEN_XML, "<tool_call>\\n<function={{ name }}>\\n<parameter="),
        (SEED_XML, "<seed:tool_call>\\n<function="),
        (GLM, "<tool_call>{{ name }}<arg_key>"),
        (MINIMAX, "<minimax:tool_call>\\n<invoke name="),
        (DSML, "<｜DSML｜function_calls>"),
        (DSML, "<｜DSML｜tool_calls>"),
        (DEEPSEEK, "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>"),
        (KIMI, "<|tool_calls_section_begin|>…<|tool_call_argument_begin|>"),
        (GEMMA, "<|tool_call>call:"),
        (MISTRAL, "[TOOL_CALLS]"),
        (LLAMA_JSON, "<|start_header_id|>… <|python_tag|>"),
        (PYTHONIC, "<|header_start|>… <|python_start|>"),
        (HERMES, "no tools at all"),
    ],
)
def test_the_chat_template_tells_the_form(form: CallForm, template: str) -> None:
    assert form_of(template) is form


def test_every_form_has_a_test() -> None:
    assert {form.name for form in FORMS} == {form.name for form, _ in WRITTEN}
