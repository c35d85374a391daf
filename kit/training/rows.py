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
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from kit.answers.extraction import last_boxed
from kit.data.examples import MathExample
from kit.data.solutions import clean_solution
from kit.engines.text.chat import render
from kit.engines.text.encoding import PromptEncoder
from kit.errors import EngineError, InputError
from kit.prompting import build_prompt
from kit.sampling import Message, Prompt
from kit.training.language import LanguageBatch
from kit.training.objective import IGNORED
from kit.training.settings import Answers
from kit.training.step_labels import RowSteps, StepLabels, row_steps
from kit.whole_file import written_whole

COLUMNS_MULTIPLE, ANSWERING_MULTIPLE = 64, 8
"""Shapes of batches are multiples of them: few enough that their memory is used again and again.

Logits are made of the places with a target alone, some half of them. The recursion runs at the answering columns, and
an answer at once has some six.
"""


class LeftOut(NamedTuple):
    """How many examples are no rows."""

    unboxed: int
    long: int

    def told(self, max_length: int) -> str:
        """In words."""
        return f"{self.unboxed} without a boxed answer, {self.long} longer than {max_length} tokens"


NOTHING_LEFT_OUT = LeftOut(0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Rows one after the other. offsets: where each begins, and the end of the last; answers: where its answer does.

    steps: of answers that are said at once, where an example tells them; None: no row has any.
    """

    tokens: Any  # int32, all rows
    offsets: Any  # int64 [N + 1]
    answers: Any  # int64 [N], counted from the row's begin
    steps: StepLabels | None = None
    left_out: LeftOut = NOTHING_LEFT_OUT

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
    name: str,
    max_length: int,
    style: Answers,
    cache: Path,
    stop_ids: Collection[int] = (),
) -> Rows:
    """The rows of examples whose solution has an answer and that fit into max_length tokens; the others are counted.

    name: of the set, for messages. stop_ids: where the model's generation ends, as its folder says. What a template
    makes of the day's date stays as it was when the rows were made, so that a run goes on tomorrow.
    Raises: InputError if the tokenizer has no chat template or end token, or if no example is left; StorageError.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise InputError("the model's tokenizer has no chat template; train from an instruct model's folder")
    if tokenizer.eos_token_id is None:
        raise InputError("the model's tokenizer has no end-of-sequence token; a trained model would never stop")
    texts = [_text(example, style) for example in examples]
    end_id = _end_token(tokenizer, stop_ids)
    path = cache / f"{_key(texts, tokenizer, end_id, max_length)}.npz"
    rows = _read(path)
    if rows is None:
        rows = _tokenised(texts, tokenizer, end_id, max_length)
        with written_whole(path) as part:
            part.parent.mkdir(parents=True, exist_ok=True)
            _write(part, rows)
    if not len(rows):
        advice = "raise --max_length" if rows.left_out.long else "--answers at_once needs no box in the solution"
        raise InputError(
            f"{name}: none of {len(texts)} examples can be trained on: {rows.left_out.told(max_length)}; {advice}"
        )
    return rows


def _key(texts: Sequence[_Text], tokenizer: Any, end_id: int, max_length: int) -> str:
    """Of all that rows depend on, the date apart."""
    special = {name: str(token) for name, token in tokenizer.special_tokens_map.items()}
    key = hashlib.sha256(json.dumps([_MADE_BY, tokenizer.chat_template, special, end_id, max_length]).encode())
    key.update(tokenizer.backend_tokenizer.to_str().encode())
    for text in texts:
        turns = [(message.role, message.content) for message in text.prompt.messages]
        key.update(json.dumps([turns, text.answer, text.number, text.steps]).encode())
    return key.hexdigest()[:32]


_MADE_BY = 2  # one more where the same texts become other rows
_LEFT_OUT = "left_out"  # the name of that array in a file
_STEPS = "steps_"  # before the names of the steps' arrays


def _write(path: Path, rows: Rows) -> None:
    arrays: dict[str, Any] = {"tokens": rows.tokens, "offsets": rows.offsets, "answers": rows.answers}
    arrays[_LEFT_OUT] = rows.left_out
    if rows.steps is not None:
        arrays |= {_STEPS + name: array for name, array in rows.steps.arrays.items()}
    with path.open("wb") as file:
        np.savez(file, **arrays)


def _read(path: Path) -> Rows | None:
    """None where there is no such file, or none that can be read: a lost machine may leave one cut off."""
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            found = dict(arrays)
        left_out = LeftOut(*found.pop(_LEFT_OUT).tolist())
    except (OSError, ValueError, EOFError, KeyError, BadZipFile):
        return None
    steps = {name.removeprefix(_STEPS): found.pop(name) for name in list(found) if name.startswith(_STEPS)}
    return Rows(**found, steps=StepLabels(**steps) if steps else None, left_out=left_out)


class _Text(NamedTuple):
    """answer: empty where the solution shows none. number: the part of it that steps put their results in, or empty."""

    prompt: Prompt
    answer: str
    number: str
    steps: tuple[str, ...]


def _text(example: MathExample, style: Answers) -> _Text:
    prompt, answer = build_prompt(example.problem), _answer(example, style)
    if style == "worked":
        return _Text(prompt, answer, number="", steps=())
    return _Text(prompt, answer, example.gold, example.steps)


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


def _tokenised(texts: Sequence[_Text], tokenizer: Any, end_id: int, max_length: int) -> Rows:
    encoder = PromptEncoder(tokenizer)
    kept, answers, steps = [], [], []
    num_unboxed = num_long = 0
    for text in texts:
        if not text.answer:
            num_unboxed += 1
            continue
        prompt = encoder.encoded(text.prompt)
        # a thought that the template has opened is not opened again, as where generation goes on with a turn
        answer_ids = encoder.said(text.answer.removeprefix(prompt.rendered.opening))
        row = np.array([*prompt.ids, *answer_ids, end_id], dtype=np.int32)
        if len(row) > max_length:
            num_long += 1
            continue
        kept.append(row)
        answers.append(len(prompt.ids))
        has_steps = text.number and all(map(encoder.is_plain, (text.answer, *text.steps)))
        steps.append(row_steps(tokenizer, text.answer, text.number, text.steps) if has_steps else RowSteps((), (0, 0)))
    labels = StepLabels.of(steps)
    return Rows(
        steps=None if labels.is_empty else labels,
        tokens=np.concatenate([np.zeros(0, dtype=np.int32), *kept]),
        offsets=np.cumsum([0, *map(len, kept)]).astype(np.int64),
        answers=np.array(answers, dtype=np.int64),
        left_out=LeftOut(num_unboxed, num_long),
    )


def _answer(example: MathExample, style: Answers) -> str:
    """What the model is to say; empty where the solution shows no answer."""
    if style == "at_once":
        return rf"\boxed{{{example.gold}}}"
    solution = clean_solution(example.solution).strip()
    return solution if last_boxed(solution) is not None else ""


def _fixed(length: int, multiple: int) -> int:
    return -(-length // multiple) * multiple
