"""Examples as rows of tokens: the chat as the template writes it, and which part of it is the answer.

In: examples with worked solutions, a tokenizer with a chat template. Out: rows, tokenised once and cached by a hash of
all they depend on; and batches of fixed shapes, padded on the right.

The prompt is tokenised alone and the answer after it, as generation does, and ends with the end-of-turn token, which
has a loss. What has none is told by position, never by a token's id: SmolLM2 pads with its end-of-turn token.

Letters: B rows, T columns, K the columns that answer.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from kit.answers.extraction import last_boxed
from kit.data.examples import MathExample
from kit.data.solutions import clean_solution
from kit.engines.text.chat import render
from kit.engines.text.encoding import PromptEncoder, encodable
from kit.errors import EngineError, InputError
from kit.prompting import build_prompt
from kit.sampling import Message, Prompt
from kit.training.language import LanguageBatch
from kit.training.objective import IGNORED
from kit.training.step_labels import RowSteps, StepLabels, row_steps
from kit.whole_file import written_whole

COLUMNS_MULTIPLE, ANSWERING_MULTIPLE = 64, 8
"""Shapes of batches are multiples of them: few enough that their memory is used again and again.

The recursion runs at the answering columns alone, and an answer at once has some six.
"""

AnswerStyle = Literal["worked", "at_once"]
"""The set's own solution, or the boxed answer alone."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Rows one after the other. offsets: where each begins, and the end of the last; answers: where its answer does.

    steps: of answers that are said at once, where an example tells them; None: no row has any.
    """

    tokens: Any  # int32, all rows
    offsets: Any  # int64 [N + 1]
    answers: Any  # int64 [N], counted from the row's begin
    steps: StepLabels | None = None

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self.answers)

    @property
    def sha256(self) -> str:
        """Of tokens and offsets, for whatever is computed from them."""
        digest = hashlib.sha256()
        for part in (self.tokens, self.offsets, self.answers):
            digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()

    @property
    def lengths(self) -> list[int]:
        """Of each row, in tokens."""
        return [int(length) for length in np.diff(self.offsets)]

    def tokens_of(self, row: int) -> Tensor:
        """int64 [T]."""
        return torch.from_numpy(self.tokens[self.offsets[row] : self.offsets[row + 1]].astype(np.int64))

    def batch(self, rows_B: Sequence[int]) -> LanguageBatch:
        """Some rows, padded on the right; every column before a token of the answer has it as its target."""
        tokens_B = [self.tokens_of(row) for row in rows_B]
        begins_B = [int(self.answers[row]) for row in rows_B]
        num_columns = _fixed(max(map(len, tokens_B)), COLUMNS_MULTIPLE)
        longest = max(len(tokens) - begin for tokens, begin in zip(tokens_B, begins_B, strict=True))
        num_answering = _fixed(longest, ANSWERING_MULTIPLE)
        ids_BT = torch.zeros(len(rows_B), num_columns, dtype=torch.long)
        mask_BT = torch.zeros_like(ids_BT)
        columns_BK = torch.zeros(len(rows_B), num_answering, dtype=torch.long)
        targets_BK = torch.full_like(columns_BK, IGNORED)
        for place, (tokens, begin) in enumerate(zip(tokens_B, begins_B, strict=True)):
            ids_BT[place, : len(tokens)] = tokens
            mask_BT[place, : len(tokens)] = 1
            answer = tokens[begin:]
            columns_BK[place] = begin - 1  # for the places that stay unused
            columns_BK[place, : len(answer)] = torch.arange(begin - 1, len(tokens) - 1)
            targets_BK[place, : len(answer)] = answer
        return LanguageBatch(ids_BT=ids_BT, columns_BK=columns_BK, targets_BK=targets_BK, mask_BT=mask_BT)


def rows_of(
    examples: Sequence[MathExample],
    tokenizer: Any,
    *,
    max_length: int,
    style: AnswerStyle,
    cache: Path,
    stop_ids: Collection[int] = (),
) -> Rows:
    """The rows of examples whose solution has an answer and that fit into max_length tokens; the others are counted.

    stop_ids: where the model's generation ends, as its folder says.
    Raises: InputError if the tokenizer has no chat template or end token, or if no example is left; StorageError.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise InputError("the model's tokenizer has no chat template; train from an instruct model's folder")
    if tokenizer.eos_token_id is None:
        raise InputError("the model's tokenizer has no end-of-sequence token; a trained model would never stop")
    texts = [_text(example, style) for example in examples]
    end_id = _end_token(tokenizer, stop_ids)
    depends_on = [texts, tokenizer.chat_template, end_id, max_length]
    key = hashlib.sha256(json.dumps(depends_on, default=asdict).encode())
    key.update(tokenizer.backend_tokenizer.to_str().encode())
    path = cache / f"{key.hexdigest()[:32]}.npz"
    if path.is_file():
        rows, left_out = _read(path)
    else:
        rows, left_out = _tokenised(texts, tokenizer, end_id, max_length)
        with written_whole(path) as part:
            part.parent.mkdir(parents=True, exist_ok=True)
            _write(part, rows, left_out)
    if any(left_out):
        log.warning("of %d examples left out: %s", len(texts), left_out.told(max_length))
    return rows


class _LeftOut(NamedTuple):
    """How many examples are no rows."""

    unboxed: int
    long: int

    def told(self, max_length: int) -> str:
        return f"{self.unboxed} without a boxed answer, {self.long} longer than {max_length} tokens"


_LEFT_OUT = "left_out"  # the name of that array in a file
_STEPS = "steps_"  # before the names of the steps' arrays


def _write(path: Path, rows: Rows, left_out: _LeftOut) -> None:
    arrays = {"tokens": rows.tokens, "offsets": rows.offsets, "answers": rows.answers, _LEFT_OUT: np.array(left_out)}
    steps = {} if rows.steps is None else {_STEPS + name: array for name, array in rows.steps.arrays.items()}
    with path.open("wb") as file:
        np.savez(file, **arrays, **steps)


def _read(path: Path) -> tuple[Rows, _LeftOut]:
    with np.load(path) as file:
        found = dict(file)
    left_out = _LeftOut(*found.pop(_LEFT_OUT).tolist())
    steps = {name.removeprefix(_STEPS): found.pop(name) for name in list(found) if name.startswith(_STEPS)}
    return Rows(**found, steps=StepLabels(**steps) if steps else None), left_out


class _Text(NamedTuple):
    """answer: empty where the solution shows none. number: the part of it that steps put their results in, or empty."""

    prompt: Prompt
    answer: str
    number: str
    steps: tuple[str, ...]


def _text(example: MathExample, style: AnswerStyle) -> _Text:
    prompt, answer = build_prompt(example.problem), encodable(_answer(example, style))
    if style == "worked":
        return _Text(prompt, answer, number="", steps=())
    return _Text(prompt, answer, encodable(example.gold), tuple(map(encodable, example.steps)))


def _end_token(tokenizer: Any, stop_ids: Collection[int]) -> int:
    """The token after an answer: what ends an assistant's turn in the chat template, if generation ends there too.

    Else the tokenizer's own end token, which is not always the turn's: a base model has that of a document, and
    transformers 5.17 takes `<|im_start|>` from a GGUF of SmolLM2, where 5.19 takes `<|im_end|>`.
    """
    user, said = Message("user", "1"), "31415926"
    try:
        chat = render(tokenizer, Prompt((user, Message("assistant", said), user))).text
    except EngineError:  # a template that refuses such a chat
        return int(tokenizer.eos_token_id)
    _, _, after = chat.partition(said)
    ends = (each for each in sorted(stop_ids) if after.lstrip().startswith(str(tokenizer.convert_ids_to_tokens(each))))
    return next(ends, int(tokenizer.eos_token_id))


def _tokenised(texts: Sequence[_Text], tokenizer: Any, end_id: int, max_length: int) -> tuple[Rows, _LeftOut]:
    encoder = PromptEncoder(tokenizer)
    kept, answers, steps = [], [], []
    num_unboxed = num_long = 0
    for prompt, answer, number, steps_before in texts:
        if not answer:
            num_unboxed += 1
            continue
        prompt_ids = encoder.encoded(prompt).ids
        row = [*prompt_ids, *encoder.said(answer), end_id]
        if len(row) > max_length:
            num_long += 1
            continue
        kept.append(row)
        answers.append(len(prompt_ids))
        steps.append(row_steps(tokenizer, answer, number, steps_before) if number else RowSteps((), (0, 0)))
    left_out = _LeftOut(num_unboxed, num_long)
    if not kept:
        told = left_out.told(max_length)
        raise InputError(
            f"none of {len(texts)} examples can be trained on: {told}; raise --max_length, or look at them"
        )
    labels = StepLabels.of(steps)
    rows = Rows(
        steps=None if labels.is_empty else labels,
        tokens=np.concatenate([np.array(row, dtype=np.int32) for row in kept]),
        offsets=np.cumsum([0, *map(len, kept)]).astype(np.int64),
        answers=np.array(answers, dtype=np.int64),
    )
    return rows, left_out


def _answer(example: MathExample, style: AnswerStyle) -> str:
    """What the model is to say; empty where the solution shows no answer."""
    if style == "at_once":
        return rf"\boxed{{{example.gold}}}"
    solution = clean_solution(example.solution).strip()
    return solution if last_boxed(solution) is not None else ""


def _fixed(length: int, multiple: int) -> int:
    return -(-length // multiple) * multiple
