"""Renders one chat and encodes it, in a process of its own: a template or a tokenizer may loop, and can be ended there.

    python -P -m kit.engines.text.rehearsal MODEL_FOLDER

In: a model folder. Out: how it went. The child says which step it has come to, so that the parent knows which one did
not end. Nothing is downloaded and no code of the model's is run.
"""

from __future__ import annotations

import faulthandler
import subprocess
import sys
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from kit.errors import KitError
from kit.sampling import Message, Prompt

LIMIT_S = 60.0
"""For rendering and encoding, which take milliseconds, on a busy machine."""
_LOAD_S = 300.0  # the imports and a large tokenizer
_TEXT = "Let $n$ be the number of primes below $100$. Find $n^2 \\bmod 7$, and write `print(n)`.\n\n" * 40


class Step(Enum):
    """What the child does, in this order; it says each before it begins."""

    IMPORT = "importing transformers"
    LOAD = "loading the tokenizer"
    RENDER = "rendering a chat through its template"
    ENCODE = "encoding a text"
    DONE = "done"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsed:
    """step: the last that was begun. error: why it is not DONE; empty if it is."""

    step: Step
    error: str = ""


def rehearse(folder: Path, *, limit_s: float = LIMIT_S) -> Rehearsed:
    """Let a child render and encode; it ends itself where that takes longer than limit_s."""
    command = [sys.executable, "-P", "-m", __name__, str(folder), str(limit_s)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_LOAD_S + limit_s)
    except subprocess.TimeoutExpired as late:
        return Rehearsed(step=_last_step((late.stdout or b"").decode()), error=f"not done after {late.timeout:g} s")
    step = _last_step(done.stdout)
    if step is Step.DONE:
        return Rehearsed(step=step)
    if "Timeout (" in done.stderr:  # faulthandler's word
        return Rehearsed(step=step, error=f"not done after {limit_s:g} s")
    *_, last = done.stderr.strip().splitlines() or [f"it ended with status {done.returncode}"]
    return Rehearsed(step=step, error=last)


def _last_step(stdout: str) -> Step:
    steps = [step for step in Step if f"{step.name}\n" in stdout]
    return steps[-1] if steps else Step.IMPORT


def _begin(step: Step) -> None:
    sys.stdout.write(f"{step.name}\n")
    sys.stdout.flush()


def _main(folder: Path, *, limit_s: float) -> None:
    _begin(Step.IMPORT)
    from kit.engines.text.chat import render  # here, because jinja2 comes with transformers
    from kit.engines.text.tokenizer import load_tokenizer

    _begin(Step.LOAD)
    tokenizer = load_tokenizer(folder)
    # a thread of its own in C, which no lock and no loop in Python holds up
    faulthandler.dump_traceback_later(limit_s, exit=True)
    text = _TEXT
    if tokenizer.chat_template:
        _begin(Step.RENDER)
        text = render(tokenizer, Prompt((Message("user", _TEXT),))).text
    _begin(Step.ENCODE)
    _check(tokenizer, text)
    faulthandler.cancel_dump_traceback_later()
    _begin(Step.DONE)


def _check(tokenizer: Any, text: str) -> None:
    if not tokenizer(text, add_special_tokens=False)["input_ids"]:
        raise KitError("a chat has no tokens at all")


if __name__ == "__main__":
    try:
        _main(Path(sys.argv[1]), limit_s=float(sys.argv[2]))
    except KitError as error:
        sys.exit(str(error))
