"""Tasks with dials of difficulty, made on the spot by the `reasoning-gym` library.

In: `reasoning_gym:chain_sum?min_terms=2&max_terms=2&digits=1&size=200`. Out: rows with a question and an integer.
A dial is a field of the task's own config; `digits=2` stands for both `min_digits` and `max_digits`, and several values
are written `operators=+,-`. size: how many different questions (200), seed: where drawing begins (0).

Small dials repeat their questions, so each counts once. A question is one of `train` or of `test` by its own hash: no
seed, size or dial brings a question of one into the other. Answers that are no integers are left out; negative ones
stay. The library's scorer gives partial credit, so the kit grades by its own reader.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from kit.data.columns import Row, Rules
from kit.data.examples import AnswerForm
from kit.errors import InputError, MissingError, did_you_mean

PREFIX = "reasoning_gym:"
RULES = Rules(form=AnswerForm.INTEGER)

_SIZE, _SEED = 200, 0
_MAX_DRAWS_EACH = 50  # per wanted question, before a task with few questions is given up
_INTEGER = re.compile(r"-?\d+", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRows:
    """What a task gave."""

    task: str
    rows: Sequence[Row]


def rows(spec: str, *, split: str) -> TaskRows:
    """Different questions of a task, with integers for answers.

    Raises: InputError for an unknown task or dial, a value that the task refuses, or dials with too few different
        questions; MissingError without the library.
    """
    task, _, query = spec.removeprefix(PREFIX).partition("?")
    factory = _factory()
    if task not in factory.DATASETS:
        raise InputError(f"reasoning_gym has no task {task!r}{_nearest(task, factory.DATASETS)}")
    dials = dict(_dials(query, spec))
    size, seed = (
        _count(dials.pop("size", str(_SIZE)), "size", spec),
        _count(dials.pop("seed", str(_SEED)), "seed", spec),
    )
    config = _config(dials, factory.DATASETS[task][1], spec)
    try:
        drawn = factory.create_dataset(task, seed=seed, size=max(1, size * _MAX_DRAWS_EACH), **config)
        found = list(_different(drawn, split=split, size=size))
    except (AssertionError, ValueError, TypeError) as error:
        raise InputError(f"{spec}: the task refuses its dials: {error}") from error
    if len(found) < size:
        raise InputError(
            f"{spec}: only {len(found)} different questions of split {split!r} with integer answers in {len(drawn)} "
            f"draws; ask for size={len(found)}, or widen the dials"
        )
    return TaskRows(task=task, rows=found)


def _factory() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # SyntaxWarning of cellpylib, which it needs
            import reasoning_gym  # heavy
            from reasoning_gym import factory
    except ImportError:
        raise MissingError(f"{PREFIX}... needs reasoning-gym; pip install 'mathllm-kit[tasks]'") from None
    assert reasoning_gym.create_dataset is factory.create_dataset  # its import registers the tasks
    return factory


def _different(drawn: Any, *, split: str, size: int) -> Iterator[Row]:
    seen: set[str] = set()
    for index in range(len(drawn)):
        if len(seen) == size:
            return
        item = drawn[index]
        question, answer = str(item["question"]).strip(), str(item["answer"]).strip()
        if question not in seen and _INTEGER.fullmatch(answer) and _split_of(question) == split:
            seen.add(question)
            yield {"question": question, "answer": answer}


def _split_of(question: str) -> str:
    return "test" if hashlib.sha256(question.encode()).digest()[0] % 2 else "train"


# --------------------------------------------------------------------------------------------- dials


def _dials(query: str, spec: str) -> Iterator[tuple[str, str]]:
    for part in filter(None, query.split("&")):
        name, equals, value = part.partition("=")
        if not (name and equals and value):
            raise InputError(f"{spec}: {part!r} is no dial; write name=value, and `&` between dials")
        yield unquote(name), unquote(value)


def _count(value: str, name: str, spec: str) -> int:
    if not (value.isascii() and value.isdigit()) or (name == "size" and int(value) < 1):
        raise InputError(f"{spec}: {name}={value!r}; expected a whole number{' from 1' if name == 'size' else ''}")
    return int(value)


def _config(dials: Mapping[str, str], config: Any, spec: str) -> dict[str, Any]:
    """The config's own fields, each with a value of the kind that its default has."""
    defaults = {field.name: _default(field) for field in dataclasses.fields(config)}
    values: dict[str, Any] = {}
    for name, value in dials.items():
        fields = [name] if name in defaults else [f"min_{name}", f"max_{name}"]
        if not all(field in defaults for field in fields):
            known = [field for field in defaults if field not in ("seed", "size")]
            raise InputError(f"{spec}: no dial {name!r}{_nearest(name, known)}; it has {', '.join(known)}")
        values |= {field: _value(value, defaults[field], f"{spec}: {name}") for field in fields}
    return values


def _default(field: dataclasses.Field[Any]) -> Any:
    factory = field.default_factory
    return field.default if factory is dataclasses.MISSING else factory()


def _value(text: str, default: Any, place: str) -> Any:
    if isinstance(default, bool):
        if text.lower() not in ("true", "false"):
            raise InputError(f"{place}={text!r}; expected true or false")
        return text.lower() == "true"
    if isinstance(default, (list, tuple)):
        kind = default[0] if default else ""
        return type(default)(_value(part, kind, place) for part in text.split(","))
    if isinstance(default, str):
        return text
    try:
        return int(text) if isinstance(default, int) else float(text)
    except ValueError:
        raise InputError(f"{place}={text!r}; expected a number, such as {default!r}") from None


def _nearest(name: str, known: Any) -> str:
    hint = did_you_mean(name, known)
    return f"; {hint}" if hint else ""
