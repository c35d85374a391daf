"""Calls in tags, with each argument as plain text between its own: nothing in the code has to be escaped.

Qwen3-Coder, Qwen3.5 and later, Nemotron 3 (Seed-OSS with `seed:tool_call`):

    <tool_call>
    <function=python>
    <parameter=code>
    print(2)
    </parameter>
    </function>
    </tool_call>

MiniMax-M2, with `<minimax:tool_call>` around it, and DeepSeek-V3.2 with `｜DSML｜` before each name of a tag:

    <invoke name="python">
    <parameter name="code">print(2)</parameter>
    </invoke>

GLM-4.5 to 5:

    <tool_call>python
    <arg_key>code</arg_key>
    <arg_value>print(2)</arg_value>
    </tool_call>

A value ends at the last closing tag before the next argument or the end of the call, so a closing tag within a string
of the code does not end it. One line break after the opening tag and one before the closing one belong to the markup.
A call whose outer tag was left out, as small models do, is read all the same.
Source: the chat templates of Qwen/Qwen3-Coder-30B-A3B-Instruct, zai-org/GLM-4.7, MiniMaxAI/MiniMax-M2 and
deepseek-ai/DeepSeek-V3.2; vllm/parser/{qwen3,glm47_moe,minimax_m2,deepseek_v4}.py of vLLM 0.32.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from kit.models.calls.form import CallForm, Read, Reader, after_space, written

_DSML = "｜DSML｜"


def _reader_of_functions(head: re.Pattern[str], parameter: re.Pattern[str], closes: str, ends_value: str) -> Reader:
    """Reads `head`, values each after `parameter`, and `closes`, which stand nowhere else than in the markup."""

    def read(text: str, place: int) -> Read | None:
        begin = head.match(text, after_space(text, place))
        if begin is None:
            return None
        end = _end_of_call(text, begin.end(), closes, head)
        if end is None:
            return None
        values = dict(_values(text, begin.end(), end, parameter, ends_value))
        made = written(begin["name"].strip("\"' "), values)
        return None if made is None else Read((made,), end + len(closes))

    return read


def _end_of_call(text: str, place: int, closes: str, head: re.Pattern[str]) -> int | None:
    """Where the last `closes` stands before the next call begins."""
    following = head.search(text, place)
    end = text.rfind(closes, place, following.start() if following else len(text))
    return None if end < 0 else end


def _values(text: str, place: int, end: int, parameter: re.Pattern[str], closes: str) -> Iterator[tuple[str, str]]:
    heads = list(parameter.finditer(text, place, end))
    for number, head in enumerate(heads):
        upto = heads[number + 1].start() if number + 1 < len(heads) else end
        close = text.rfind(closes, head.end(), upto)
        yield head["name"].strip("\"' "), _unwrapped(text[head.end() : upto if close < 0 else close])


def _unwrapped(value: str) -> str:
    return value.removeprefix("\n").removesuffix("\n")


_QWEN_ADVICE = (
    "The call is not well formed. Write <tool_call>, <function=python>, <parameter=code>, the code, then </parameter>, "
    "</function> and </tool_call>, each on a line of its own."
)


def _functions(name: str, tag: str) -> CallForm:
    begins = "<function="
    return CallForm(
        name=name,
        opens=re.compile(rf"<{tag}>(?!\s*+[{{\w])|{begins}"),  # what follows else is another form's
        between=re.compile(rf"(?:\s|</?{tag}>)*+"),
        read=_reader_of_functions(
            re.compile(r"<function=(?P<name>[^>\n]*)>"),
            re.compile(r"<parameter=(?P<name>[^>\n]*)>"),
            "</function>",
            "</parameter>",
        ),
        advice=_QWEN_ADVICE.replace("tool_call", tag),
        is_of=lambda template: begins in template and f"<{tag}>" in template,
    )


QWEN_XML = _functions("qwen-xml", "tool_call")
SEED_XML = _functions("seed-xml", "seed:tool_call")


def _invocations(name: str, mark: str, wrapper: str, *, is_of: str) -> CallForm:
    head = re.compile(rf"<{mark}invoke name=(?P<name>[^>\n]*)>")
    parameter = re.compile(rf"<{mark}parameter name=(?P<name>\"[^\"\n]*\"|'[^'\n]*'|[^\s>]+)[^>\n]*>")
    return CallForm(
        name=name,
        opens=re.compile(rf"<{mark}{wrapper}>|<{mark}invoke name="),
        between=re.compile(rf"(?:\s|</?{mark}{wrapper}>)*+"),
        read=_reader_of_functions(head, parameter, f"</{mark}invoke>", f"</{mark}parameter>"),
        advice=f'The call is not well formed. Write <{mark}invoke name="python">, <{mark}parameter name="code">, the '
        f"code, then </{mark}parameter> and </{mark}invoke>.",
        is_of=lambda template: is_of in template,
    )


MINIMAX = _invocations("minimax", "", "minimax:tool_call", is_of="<minimax:tool_call>")
DSML = _invocations("dsml", _DSML, "(?:function|tool)_calls", is_of=f"<{_DSML}")


_GLM_OPEN, _GLM_CLOSE = "<tool_call>", "</tool_call>"
_GLM_HEAD = re.compile(rf"{_GLM_OPEN}\s*(?P<name>[\w.-]+)\s*(?=<arg_key>|{_GLM_CLOSE})")
_GLM_KEY = re.compile(r"<arg_key>(?P<name>[^<\n]*)</arg_key>\s*<arg_value>")


GLM = CallForm(
    name="glm",
    opens=re.compile(rf"{_GLM_OPEN}(?=\s*+[\w.-])"),
    read=_reader_of_functions(_GLM_HEAD, _GLM_KEY, _GLM_CLOSE, "</arg_value>"),
    advice="The call is not well formed. Write <tool_call>python, <arg_key>code</arg_key>, <arg_value>, the code, then "
    "</arg_value> and </tool_call>.",
    is_of=lambda template: "<arg_key>" in template,
)
