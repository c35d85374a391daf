"""Calls split off the end of a finished text, in any of the forms, and which form a chat template writes; pure.

A malformed call is not repaired: the whole text stays as it is, and `advice_for` has the words for the model.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from kit.models.calls.deepseek import DEEPSEEK, KIMI
from kit.models.calls.form import CallForm, Read
from kit.models.calls.gemma import GEMMA
from kit.models.calls.hermes import HERMES
from kit.models.calls.llama import LLAMA_JSON, MISTRAL, PYTHONIC
from kit.models.calls.xml import DSML, GLM, MINIMAX, QWEN_XML, SEED_XML
from kit.models.family import TAGS
from kit.sampling import FinishReason, Prompt, Sample, ToolCall

FORMS: tuple[CallForm, ...] = (
    DSML, DEEPSEEK, KIMI, MINIMAX, SEED_XML, GLM, QWEN_XML, GEMMA, MISTRAL, HERMES, PYTHONIC, LLAMA_JSON,
)  # fmt: skip
"""Those whose marks hold the marks of others come first."""

_, _END_OF_THOUGHT = TAGS.thought


@dataclass(frozen=True, slots=True)
class Said:
    """text: what stands before the first call, or the whole text without calls."""

    text: str
    tool_calls: tuple[ToolCall, ...] = ()


def form_of(chat_template: str) -> CallForm:
    """The form in which a chat template writes calls; Hermes' for one that knows none, and for Harmony's."""
    return next((form for form in FORMS if form.is_of(chat_template)), HERMES)


def split_tool_calls(text: str, form: CallForm = HERMES, *, num_earlier: int = 0) -> Said:
    """Split the calls off the end of a text; a malformed call leaves the whole text as it is.

    Calls within a closed thought are not taken; those in a thought that never closes are. Text after the last call is
    dropped: there the model makes up the answer.
    num_earlier: calls in the chat so far; ids (`call_0`, `call_1`, ...) go on from there.
    """
    opening = form.opens.search(text, _end_of_thought(text, form))
    if opening is None:
        return Said(text)
    calls: list[ToolCall] = []
    place = opening.start()
    while (read := _next(text, place, form)) is not None:
        for call in read.calls:
            calls.append(ToolCall(id=f"call_{num_earlier + len(calls)}", name=call.name, arguments=call.arguments))
        place = read.end
    if not calls or _begins_another(text, place, form):
        return Said(text)
    # the template writes a line break before a call
    return Said(text[: opening.start()].removesuffix("\n"), tuple(calls))


def split_in_any_form(text: str, *, num_earlier: int = 0) -> Said:
    """As `split_tool_calls`, for a model whose chat template is not known: the first form that reads a call."""
    said = (split_tool_calls(text, form, num_earlier=num_earlier) for form in FORMS)
    return next((each for each in said if each.tool_calls), Said(text))


def with_tool_calls(sample: Sample, prompt: Prompt, form: CallForm = HERMES) -> Sample:
    """The sample with the calls at its end; a text that was cut short has none."""
    if sample.finish is not FinishReason.STOP:
        return sample
    num_earlier = sum(len(message.tool_calls) for message in prompt.messages)
    said = split_tool_calls(sample.text, form, num_earlier=num_earlier)
    return dataclasses.replace(sample, text=said.text, tool_calls=said.tool_calls)


def advice_for(text: str) -> str | None:
    """What to tell a model whose turn holds the beginning of a call that could not be read; None without one."""
    final = text.rpartition(_END_OF_THOUGHT)[2]
    form = next((form for form in FORMS if form.opens.search(final)), None)
    return None if form is None else form.advice


def _next(text: str, place: int, form: CallForm) -> Read | None:
    gap = form.between.match(text, place)
    return form.read(text, gap.end() if gap else place)


def _begins_another(text: str, place: int, form: CallForm) -> bool:
    """Whether a call begins right here that could not be read: then none of them is run."""
    gap = form.between.match(text, place)
    return form.opens.match(text, gap.end() if gap else place) is not None


def _end_of_thought(text: str, form: CallForm) -> int:
    """The place of the last closing tag of a thought that is no part of a call's arguments; 0 without one."""
    place = text.rfind(_END_OF_THOUGHT)
    if place < 0:
        return 0
    openings = [opening.start() for opening in form.opens.finditer(text, 0, place)]
    while place >= 0:
        begin = openings.pop() if openings else -1
        call = _next(text, begin, form) if begin >= 0 else None
        if call is None or call.end <= place:
            return place
        place = text.rfind(_END_OF_THOUGHT, 0, begin)
        while openings and openings[-1] > place:
            openings.pop()
    return 0
