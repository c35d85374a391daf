"""Calls of DeepSeek-V3 and R1-0528, of V3.1, and of Kimi-K2, which has the same sections in other marks.

    <｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>python
    ```json
    {"code": "print(2)"}
    ```<｜tool▁call▁end｜><｜tool▁calls▁end｜>

    <｜tool▁calls▁begin｜><｜tool▁call▁begin｜>python<｜tool▁sep｜>{"code":
    "print(2)"}<｜tool▁call▁end｜><｜tool▁calls▁end｜>

    <|tool_calls_section_begin|><|tool_call_begin|>functions.python:0<|tool_call_argument_begin|>{"code": "print(2)"}
    <|tool_call_end|><|tool_calls_section_end|>

Source: the chat templates of deepseek-ai/DeepSeek-V3, -V3.1 and moonshotai/Kimi-K2-Instruct;
vllm/tool_parsers/deepseekv31_tool_parser.py and vllm/parser/kimi_k2.py of vLLM 0.32.
"""

from __future__ import annotations

import re

from kit.models.calls.form import CallForm, Read, Reader, after, json_at, written

_CALL, _SEPARATOR, _END = "<｜tool▁call▁begin｜>", "<｜tool▁sep｜>", "<｜tool▁call▁end｜>"
_HEAD = re.compile(
    rf"{_CALL}(?:function{re.escape(_SEPARATOR)})?(?P<name>[^<\n｜]*?)(?:{re.escape(_SEPARATOR)}|\s*(?=```))"
)
_FENCE = re.compile(r"\s*```(?:json)?")
_KIMI_HEAD = re.compile(
    r"<\|tool_call_begin\|>\s*(?:functions\.)?(?P<name>[^<\n:]*)(?::\d+)?\s*<\|tool_call_argument_begin\|>"
)
_KIMI_END = "<|tool_call_end|>"


def _reader(head: re.Pattern[str], end_mark: str) -> Reader:
    def read(text: str, place: int) -> Read | None:
        begin = head.match(text, place)
        if begin is None:
            return None
        fence = _FENCE.match(text, begin.end())
        value = json_at(text, fence.end() if fence else begin.end())
        if value is None:
            return None
        arguments, end = value
        if fence:
            end = after("```", text, end) or end
        close = after(end_mark, text, end)
        made = written(begin["name"], arguments)
        return None if made is None or close is None else Read((made,), close)

    return read


DEEPSEEK = CallForm(
    name="deepseek",
    opens=re.compile("<｜tool▁calls?▁begin｜>"),
    between=re.compile("(?:\\s|<｜tool▁calls▁begin｜>)*+"),
    read=_reader(_HEAD, _END),
    advice='The call is not valid JSON. Write the arguments as {"code": "…"}, with \\n for a line break in the code.',
    is_of=lambda template: _CALL in template,
)

KIMI = CallForm(
    name="kimi",
    opens=re.compile(r"<\|tool_calls?(?:_section)?_begin\|>"),
    between=re.compile(r"(?:\s|<\|tool_calls_section_begin\|>)*+"),
    read=_reader(_KIMI_HEAD, _KIMI_END),
    advice=DEEPSEEK.advice,
    is_of=lambda template: "<|tool_call_argument_begin|>" in template,
    is_special=True,
)
