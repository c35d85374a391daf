r"""Targets for each step of an answer that is said at once: the same box with that step's result.

In: answers as texts with their steps' results, a tokenizer. Out: for a batch's rows, what recursion 1, 2 … should say
in the answer's columns. A column reads the answer's tokens whatever its target is, so a step's result is told token by
token where the answer has its own; what is longer has no target there, and neither has the rest of what is shorter.

Letters: N rows, M steps of all rows, B rows of a batch, K the columns that answer, S steps of the deepest row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from kit.training.objective import IGNORED


class StepTargets(NamedTuple):
    """targets_SBK: of recursion 1…S, the last one the answer's. num_steps_BK: which of them first has the answer.

    It is 0 where a column says what every step says there, box and end of turn: measures would count them as solved.
    """

    targets_SBK: Tensor
    num_steps_BK: Tensor


class RowSteps(NamedTuple):
    """tokens: of each step before a row's answer. number: begin and end of the number within the answer's tokens."""

    tokens: Sequence[Sequence[int]]
    number: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepLabels:
    """tokens: int32, step after step. offsets: int64 [M + 1]. rows: int64 [N + 1], which steps are a row's.

    numbers: int64 [N, 2], see RowSteps.
    """

    tokens: Any
    offsets: Any
    rows: Any
    numbers: Any

    @classmethod
    def of(cls, steps_N: Sequence[RowSteps]) -> StepLabels:
        """Flat, as they are kept on disk."""
        flat = [tokens for row in steps_N for tokens in row.tokens]
        return cls(
            tokens=np.array([token for tokens in flat for token in tokens], dtype=np.int32),
            offsets=np.cumsum([0, *map(len, flat)]).astype(np.int64),
            rows=np.cumsum([0, *(len(row.tokens) for row in steps_N)]).astype(np.int64),
            numbers=np.array([row.number for row in steps_N], dtype=np.int64).reshape(-1, 2),
        )

    @property
    def arrays(self) -> Mapping[str, Any]:
        """By name, for a file; `StepLabels(**arrays)` is the same again."""
        return {"tokens": self.tokens, "offsets": self.offsets, "rows": self.rows, "numbers": self.numbers}

    @property
    def sha256(self) -> str:
        """Of all of it, for a run that goes on."""
        return hashlib.sha256(
            b"".join(np.ascontiguousarray(each).tobytes() for each in self.arrays.values())
        ).hexdigest()

    @property
    def is_empty(self) -> bool:
        """Whether no row has a step before its answer."""
        return len(self.offsets) == 1

    def targets(self, rows_B: Sequence[int], targets_BK: Tensor) -> StepTargets:
        """Those of some rows, given the answers' own."""
        steps_B = [range(self.rows[row], self.rows[row + 1]) for row in rows_B]
        deepest = max(map(len, steps_B))
        targets_SBK = targets_BK.repeat(deepest + 1, 1, 1)
        num_steps_BK = torch.zeros_like(targets_BK)
        for place, (row, steps) in enumerate(zip(rows_B, steps_B, strict=True)):
            answer = int((targets_BK[place] != IGNORED).sum())
            begin, end = self.numbers[row]
            num_steps_BK[place, begin:end] = len(steps) + 1
            for number, step in enumerate(steps):
                tokens = self.tokens[self.offsets[step] : self.offsets[step + 1]][:answer].astype(np.int64)
                targets_SBK[number, place, : len(tokens)] = torch.from_numpy(tokens)
                targets_SBK[number, place, len(tokens) :] = IGNORED
        return StepTargets(targets_SBK, num_steps_BK)


def row_steps(tokenizer: Any, answer: str, number: str, steps: Sequence[str]) -> RowSteps:
    """answer: the whole text; number: the part of it that a step's result takes the place of, where it stands last."""
    begin = answer.rindex(number)  # the first "e" of \boxed{e} is no answer
    spans = tokenizer(answer, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    inside = [place for place, (first, last) in enumerate(spans) if first < begin + len(number) and last > begin]
    texts = [answer[:begin] + step + answer[begin + len(number) :] for step in steps]
    tokens = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    return RowSteps(tokens, (inside[0], inside[-1] + 1))
