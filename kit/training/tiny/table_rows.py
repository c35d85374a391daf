"""What the shipped TRM learns from: exercises as a frozen backbone's states, and what each recursion is to say.

In: exercises, the backbone and its tokenizer. Out: batches of kit.training.recursive, by a generator of random numbers.

    whole     `table` exercises as they are
    spliced   the map of one of them, asked the questions of others: the states of the map's columns come from one row,
              those that tell the question from another. So N rows make N x N questions without a forward pass
    kept      exercises of every family, at whose columns nothing is to change

All `table` exercises have their tokens at the same columns, which is what splicing needs.

Letters: N rows, B rows of a batch, T columns, C a map's columns, Q a question's, D width, K columns that answer, S
steps, M symbols.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from kit.errors import InputError
from kit.training.batches import StatesPlace, states_of
from kit.training.hidden_states import HiddenStates
from kit.training.objective import AS_BACKBONE
from kit.training.recursive import RecursiveBatch
from kit.training.rows import Rows
from kit.training.tiny.families import Exercise
from kit.training.tiny.tokenizer import render_prompt

FEATURE_LAYER = 3
"""The backbone's state in which a map's image knows its source and the answering column knows the start, to all of 512
probed rows; the embedding knows neither, and the last state a little less."""

_LAYERS = (FEATURE_LAYER, -1)
_OPENING = r"\boxed{"  # what stands before an answer at once
_MAP_ENDS = "$. Start"  # what stands behind a map


@dataclass(frozen=True, slots=True, kw_only=True)
class Backbone:
    """A frozen model. folder: where hidden states are kept; sha256: of the weights; tell: given the rows done."""

    model: Any
    tokenizer: Any
    sha256: str
    folder: Path
    batch_size: int = 32
    tell: Callable[[int], None] = lambda num_rows: None


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRows:
    """`table` exercises of any difficulties.

    states_NTD: FEATURE_LAYER's, float16, up to the column that answers, which is the last. base_ND: the last state of
    that column. images_NM: f(1)…f(M), counted from 0. starts_N: counted from 0. num_steps_N: the difficulties.
    sources_NC: of the map's columns, the symbol whose image stands there, -1 where none does. tokens_M: of the symbols.
    question_Q: the columns behind the map by which questions differ, and the two before the answer: the model writes
    the number of steps into the first of these. most_steps: how many have targets of their own.
    """

    states_NTD: Tensor
    base_ND: Tensor
    images_NM: Tensor
    starts_N: Tensor
    num_steps_N: Tensor
    sources_NC: Tensor
    tokens_M: Tensor
    question_Q: Tensor
    most_steps: int

    @property
    def num_map_columns(self) -> int:
        """Those up to the map's end."""
        return self.sources_NC.shape[1]

    def whole(self, generator: Generator, num_rows: int, *, most_steps: int, as_backbone: bool) -> RecursiveBatch:
        """Some exercises of at most so many steps, as they are."""
        rows_B = self._drawn(generator, (num_rows,), most_steps)
        hidden_BTD = self.states_NTD[rows_B].float()
        last_B1 = torch.full((num_rows, 1), hidden_BTD.shape[1] - 1)
        position_BT = torch.arange(hidden_BTD.shape[1]).expand(num_rows, -1)
        return self._batch(hidden_BTD, position_BT, last_B1, rows_B, rows_B[:, None], as_backbone=as_backbone)

    def spliced(
        self, generator: Generator, num_maps: int, num_questions: int, *, most_steps: int, as_backbone: bool
    ) -> RecursiveBatch:
        """Some maps, each asked the questions of other exercises, which do not see each other."""
        maps_B = torch.randint(len(self.states_NTD), (num_maps,), generator=generator)
        asked_BK = self._drawn(generator, (num_maps, num_questions), most_steps)
        first, question_Q = self.num_map_columns, self.question_Q
        asking_BKQD = self.states_NTD[asked_BK][:, :, question_Q]
        hidden_BTD = torch.cat([self.states_NTD[maps_B, :first], asking_BKQD.flatten(1, 2)], 1).float()
        position_T = torch.cat([torch.arange(first), question_Q.repeat(num_questions)])
        columns_K = first + len(question_Q) * torch.arange(1, num_questions + 1) - 1
        own_KT = torch.eye(num_questions, dtype=torch.bool).repeat_interleave(len(question_Q), 1)
        visible_KT = torch.cat([torch.ones(num_questions, first, dtype=torch.bool), own_KT], 1)
        batch = self._batch(
            hidden_BTD,
            position_T.expand(num_maps, -1),
            columns_K.expand(num_maps, -1),
            maps_B,
            asked_BK,
            as_backbone=as_backbone,
        )
        return replace(batch, visible_BKT=visible_KT.expand(num_maps, -1, -1))

    def _batch(
        self,
        hidden_BTD: Tensor,
        position_BT: Tensor,
        columns_BK: Tensor,
        maps_B: Tensor,
        asked_BK: Tensor,
        *,
        as_backbone: bool,
    ) -> RecursiveBatch:
        num_steps_BK = self.num_steps_N[asked_BK]
        targets_SBK = self.targets(maps_B, asked_BK, as_backbone=as_backbone)
        base_BTD = torch.zeros_like(hidden_BTD)
        index_BKD = columns_BK[..., None].expand(-1, -1, hidden_BTD.shape[-1])
        return RecursiveBatch(
            hidden_LBTD=(hidden_BTD,),
            base_BTD=base_BTD.scatter(1, index_BKD, self.base_ND[asked_BK]),
            position_BT=position_BT,
            columns_BK=columns_BK,
            targets_SBK=targets_SBK,
            num_steps_BK=num_steps_BK,
        )

    def _drawn(self, generator: Generator, shape: tuple[int, ...], most_steps: int) -> Tensor:
        """Rows of at most so many steps."""
        rows = (self.num_steps_N <= most_steps).nonzero()[:, 0]
        return rows[torch.randint(len(rows), shape, generator=generator)]

    def targets(self, maps_B: Tensor, asked_BK: Tensor, *, as_backbone: bool) -> Tensor:
        """targets_SBK: the answer from recursion k on, before it the step's own result, or what the backbone says."""
        images_BM, symbols_BK = self.images_NM[maps_B], self.starts_N[asked_BK]
        num_steps_BK = self.num_steps_N[asked_BK]
        results: list[Tensor] = []
        for _ in range(self.most_steps):
            symbols_BK = images_BM.gather(1, symbols_BK)
            results.append(symbols_BK)
        results_SBK = torch.stack(results)
        answers_1BK = results_SBK.gather(0, num_steps_BK[None] - 1)
        is_there_SBK = torch.arange(1, self.most_steps + 1)[:, None, None] >= num_steps_BK
        before_SBK = torch.full_like(results_SBK, AS_BACKBONE) if as_backbone else self.tokens_M[results_SBK]
        return torch.where(is_there_SBK, self.tokens_M[answers_1BK], before_SBK)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptRows:
    """Exercises at whose columns nothing is to change. is_table_N: those whose answer is what depth is to change."""

    rows: Rows
    states: HiddenStates
    is_table_N: tuple[bool, ...]

    def batch(self, generator: Generator, num_rows: int, num_columns: int) -> RecursiveBatch:
        """Some rows with some columns of their solutions, each to be said as the backbone says it."""
        rows_B = torch.randint(len(self.rows), (num_rows,), generator=generator).tolist()
        longest = max(self.rows.lengths[row] for row in rows_B)
        columns_BK = torch.stack([self._columns(row, generator, num_columns) for row in rows_B])
        tokens_BK = torch.stack([self.rows.tokens_of(row)[c + 1] for row, c in zip(rows_B, columns_BK, strict=True)])
        hidden_BTD, base_BTD = self.states.batch(rows_B, num_columns=longest)
        return RecursiveBatch(
            hidden_LBTD=(hidden_BTD,),
            base_BTD=base_BTD,
            position_BT=torch.arange(longest).expand(num_rows, -1),
            columns_BK=columns_BK,
            targets_SBK=torch.full((1, num_rows, num_columns), AS_BACKBONE),
            answers_BK=tokens_BK,
        )

    def _columns(self, row: int, generator: Generator, num_columns: int) -> Tensor:
        """Columns before a token of the solution; of an answer at once not the one that depth is to change."""
        begin = int(self.rows.answers[row])
        columns = torch.arange(begin - 1, self.rows.lengths[row] - 1)
        if self.is_table_N[row]:
            columns = columns[columns != begin + 1]
        return columns[torch.randint(len(columns), (num_columns,), generator=generator)]


def table_rows(exercises: Sequence[Exercise], backbone: Backbone, *, most_steps: int) -> TableRows:
    """Those exercises as rows; most_steps: how many steps have targets of their own.

    Raises: InputError for exercises of which one is longer than another; StorageError.
    """
    rows, tokenizer = rows_of(exercises, backbone.tokenizer), backbone.tokenizer
    if len(set(rows.lengths)) > 1:
        raise InputError("exercises of `table` have different lengths; splicing needs their tokens at the same columns")
    answering = int(rows.answers[0]) + len(tokenizer(_OPENING)["input_ids"]) - 1
    states_NTD, base_NTD = _states(rows, backbone).batch(range(len(rows)), num_columns=rows.lengths[0])
    images = [dict(re.findall(r"(\d)\\to(\d)", exercise.problem)) for exercise in exercises]
    symbols = sorted(images[0])
    starts = [re.findall(r"Start at \$(\d)", exercise.problem)[0] for exercise in exercises]
    head = render_prompt(tokenizer, exercises[0].problem).partition(_MAP_ENDS)[0]
    tokens_M = torch.tensor(tokenizer.convert_tokens_to_ids(symbols))
    ids_NT = torch.stack([rows.tokens_of(row) for row in range(len(rows))])[:, : answering + 1]
    map_NC = ids_NT[:, : len(tokenizer(head)["input_ids"])]
    return TableRows(
        states_NTD=states_NTD[:, : answering + 1].half(),
        base_ND=base_NTD[:, answering].clone(),
        images_NM=torch.tensor([[symbols.index(image[symbol]) for symbol in symbols] for image in images]),
        starts_N=torch.tensor([symbols.index(start) for start in starts]),
        num_steps_N=torch.tensor([exercise.difficulty for exercise in exercises]),
        sources_NC=_sources(map_NC, tokens_M, arrow=tokenizer.convert_tokens_to_ids(r"\to")),
        tokens_M=tokens_M,
        question_Q=_question(ids_NT, num_map_columns=map_NC.shape[1]),
        most_steps=most_steps,
    )


def _sources(map_NC: Tensor, tokens_M: Tensor, *, arrow: int) -> Tensor:
    """The symbol two columns back where an arrow stands between, else -1."""
    symbols_NC = (map_NC[..., None] == tokens_M).int().argmax(-1)
    sources_NC = torch.full_like(map_NC, -1)
    sources_NC[:, 2:] = torch.where(map_NC[:, 1:-1] == arrow, symbols_NC[:, :-2], -1)
    return sources_NC


def _question(ids_NT: Tensor, *, num_map_columns: int) -> Tensor:
    """The columns behind the map that differ between rows, and the last two."""
    is_asked_T = (ids_NT != ids_NT[0]).any(0)
    is_asked_T[:num_map_columns] = False
    is_asked_T[-2:] = True
    return is_asked_T.nonzero()[:, 0]


def kept_rows(exercises: Sequence[Exercise], backbone: Backbone) -> KeptRows:
    """Those exercises as rows.

    Raises: StorageError.
    """
    rows = rows_of(exercises, backbone.tokenizer)
    is_table = tuple(exercise.family == "table" for exercise in exercises)
    return KeptRows(rows=rows, states=_states(rows, backbone), is_table_N=is_table)


def rows_of(exercises: Sequence[Exercise], tokenizer: Any) -> Rows:
    """Prompts and solutions as the backbone has seen them, each with its end-of-turn token."""
    prompts = [tokenizer(render_prompt(tokenizer, exercise.problem))["input_ids"] for exercise in exercises]
    solutions = [[*tokenizer(exercise.solution)["input_ids"], tokenizer.eos_token_id] for exercise in exercises]
    tokens = [np.array(p + s, dtype=np.int32) for p, s in zip(prompts, solutions, strict=True)]
    return Rows(
        tokens=np.concatenate(tokens),
        offsets=np.cumsum([0, *map(len, tokens)]).astype(np.int64),
        answers=np.array([len(prompt) for prompt in prompts], dtype=np.int64),
    )


def _states(rows: Rows, backbone: Backbone) -> HiddenStates:
    return states_of(
        rows,
        backbone.model,
        layers=_LAYERS,
        batch_size=backbone.batch_size,
        place=StatesPlace(backbone_sha256=backbone.sha256, folder=backbone.folder, tell=backbone.tell),
    )
