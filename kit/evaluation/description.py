"""What a run's head says of its model and data, in the words of the table; whatever it lacks is left blank. Total."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """Of what and on what a run is.

    model: its name and, on top of it, that of a TRM or adapter. weights: the hashes of all of these, as far as they
    are told. trainable_parameters: None where it is not told. data: the set's name, `gsm8k`; split: its part, or empty.
    prompt: its style, and how many shots it shows.
    """

    model: str
    weights: tuple[str, ...]
    training_data: str
    trainable_parameters: int | None
    note: str
    data: str
    split: str
    prompt: str
    num_shots: int

    @property
    def task(self) -> str:
        """The name of the task as lm-evaluation-harness names tasks: letters, digits and underscores."""
        return re.sub(r"\W+", "_", self.data).strip("_").lower() or "problems"


def described(head: Mapping[str, Any]) -> Description:
    """Read a head; `model` and `data` may each be a name or a mapping with one."""
    model, data = head.get("model"), head.get("data")
    on_top = {kind: _of(model, kind) for kind in ("trm", "adapter") if _of(model, kind)}
    names = [_name(model) or "unnamed model", *(f"{kind} {_name(part)}" for kind, part in on_top.items())]
    num_shots = _count(head.get("num_shots")) or _count(_of(head.get("prompt"), "num_shots")) or 0
    return Description(
        model=" + ".join(names),
        weights=tuple(_text(_of(part, "sha256")) for part in (model, *on_top.values())),
        training_data=_text(_of(model, "training_data")),
        trainable_parameters=_count(_of(model, "trainable_parameters")),
        note=_text(_of(model, "note")),
        data=_name(data),
        split=_text(_of(data, "split")),
        prompt=_prompt(head.get("prompt"), num_shots),
        num_shots=num_shots,
    )


def _prompt(prompt: Any, num_shots: int) -> str:
    style = _text(_of(prompt, "style") or _of(prompt, "variant"))
    return ", ".join(filter(None, (style and f"{style} prompt", f"{num_shots} shots" if num_shots else "")))


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def parameters_text(count: int | None) -> str:
    """A number of parameters in three figures: 2.44 M; a dash where it is not told."""
    if count is None:
        return "–"
    for size, unit in ((1_000_000_000, " B"), (1_000_000, " M"), (1_000, " k")):
        if count >= 0.9995 * size:
            return f"{count / size:.3g}{unit}"
    return str(count)


def _name(value: Any) -> str:
    """The name itself, of a path its last part."""
    text = _text(_of(value, "name") if isinstance(value, Mapping) else value).rstrip("/")
    return text.rpartition("/")[2] if text.startswith(("/", ".")) else text


def _of(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, Mapping) else None


def _text(value: Any) -> str:
    return "" if value is None else str(value)
