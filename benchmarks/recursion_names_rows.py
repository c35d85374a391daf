"""The rows of benchmarks.recursion_names: chains of people in plain English, and what a real model makes of them.

In: a language model's folder. Out: rows of the task `chain` of kit.training.depth_task, worded, tokenised under the
model's own chat template, and the hidden states of all of them, computed once and kept on disk.

    user:       A parcel is passed on: Max to Ruth, Leo to Anna, … Who keeps what starts with each of them?
    assistant:  From Leo From Ruth From Max …

The name that starts a question is the column that answers, at once: what follows is not the answer but the next
question, so no question helps another. The last of a chain passes "Max to Max". A linear probe reads both names of a
link, 99 of 100 (27 names), from layers 4 and 22 of SmolLM2 behind its second name. As many rows as are computed are
drawn from again and again, with other questions each time; 256 short rows were learned by heart within ten rounds (83 %
of the first step, and 18 % on unseen rows), so there are thousands.

Letters: N rows, T columns, K questions, S steps, L kept hidden states, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.recursion_toy_training import TRAINED
from kit.engines.text.chat import render
from kit.errors import InputError
from kit.sampling import Message, Prompt
from kit.training.batches import StatesPlace, states_of
from kit.training.depth_task import ChainTask, Tables
from kit.training.hidden_states import HiddenStates
from kit.training.rows import Rows

NAMES = (
    "Adam", "Alice", "Anna", "Ben", "Bob", "Carl", "Claire", "Dan", "Emma", "Eric", "Frank", "Grace", "Helen", "Jack",
    "Kate", "Max", "Ruth", "Tom",
)  # fmt: skip
"""Names of one token each in SmolLM2's vocabulary; a tokenizer that has another is told."""
AT_ONCE = 16  # rows, in which states are computed


@dataclass(frozen=True, slots=True, kw_only=True)
class WordedRows:
    """tables: of all rows, with tokens of the model in ids_BT and places in NAMES as symbols."""

    tables: Tables
    states: HiddenStates

    @property
    def num_common(self) -> int:
        """The columns that all rows begin with."""
        return num_common(self.tables.ids_BT)

    def hidden(self, rows_B: Sequence[int]) -> tuple[Tensor, ...]:
        """The kept states of some rows, L tensors [B, T, D]."""
        return self.states.batch(rows_B, num_columns=self.tables.ids_BT.shape[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Which rows: how many, up to how many steps their questions go, of training's maps or of the test's."""

    num_rows: int
    most_steps: int
    max_steps: int = 8
    num_queries: int = 16
    is_test: bool = False

    @property
    def task(self) -> ChainTask:
        """Two chains of as many names as fit max_steps."""
        return ChainTask(num_symbols=len(NAMES), num_chains=2, max_steps=self.max_steps, num_queries=self.num_queries)


SPLITS: Mapping[str, Split] = {
    "small": Split(num_rows=3072, most_steps=3, max_steps=3, num_queries=8),
    "validation": Split(num_rows=64, most_steps=TRAINED),
    "test": Split(num_rows=192, most_steps=8, is_test=True),
    "train": Split(num_rows=3072, most_steps=TRAINED),
}


def worded_rows(name: str, backbone: Any, tokenizer: Any, *, layers: tuple[int, ...], place: StatesPlace) -> WordedRows:
    """A split's rows with the states of these layers; what was computed before is read."""
    split = SPLITS[name]
    symbols = split.task.draw(
        name, num_rows=split.num_rows, least_steps=1, most_steps=split.most_steps, test=split.is_test
    )
    tables = worded(symbols, split.task, tokenizer)
    num_rows, num_columns = tables.ids_BT.shape
    rows = Rows(
        tokens=tables.ids_BT.flatten().numpy().astype(np.int32),
        offsets=np.arange(num_rows + 1) * num_columns,
        answers=np.full(num_rows, num_columns - 1),
    )
    place.folder.mkdir(parents=True, exist_ok=True)
    states = states_of(rows, backbone, layers=layers, batch_size=AT_ONCE, place=place)
    return WordedRows(tables=tables, states=states)


def num_common(ids_NT: Tensor) -> int:
    """How many columns all rows begin with."""
    return int((ids_NT == ids_NT[0]).all(0).long().cumprod(0).sum())


def worded(symbols: Tables, task: ChainTask, tokenizer: Any) -> Tables:
    """The same rows in English, as tokens. All have the same length, since a name is one token."""
    names = name_tokens(tokenizer)
    num_pairs = (task.num_columns - 2 * task.num_queries) // 3
    texts = [_text(tokenizer, row.tolist(), num_pairs) for row in symbols.ids_BT]
    ids_BT = torch.tensor(tokenizer(texts, add_special_tokens=False)["input_ids"])
    is_name_BT = torch.isin(ids_BT, torch.tensor(names))
    columns_BK = is_name_BT.nonzero()[:, 1].view(len(texts), -1)[:, -task.num_queries :]
    asked_BK = symbols.ids_BT.gather(1, symbols.columns_BK)
    assert torch.equal(ids_BT.gather(1, columns_BK), torch.tensor(names)[asked_BK])
    return Tables(
        ids_BT=ids_BT,
        columns_BK=columns_BK,
        num_steps_BK=symbols.num_steps_BK,
        images_SBK=symbols.images_SBK,
    )


def name_tokens(tokenizer: Any) -> list[int]:
    """The token of each name within a sentence. Raises: InputError for one of several tokens."""
    tokens = [tokenizer(f" {name}", add_special_tokens=False)["input_ids"] for name in NAMES]
    if several := [name for name, each in zip(NAMES, tokens, strict=True) if len(each) != 1]:
        raise InputError(f"the model's tokenizer has no single token for {', '.join(several)}; use other names")
    return [token for (token,) in tokens]


def _text(tokenizer: Any, symbols: Sequence[int], num_pairs: int) -> str:
    pairs = [symbols[3 * pair : 3 * pair + 2] for pair in range(num_pairs)]
    told = ", ".join(f"{NAMES[giver]} to {NAMES[taker]}" for giver, taker in pairs)
    question = f"A parcel is passed on: {told}. Who keeps what starts with each of them?"
    asked = "".join(f" From {NAMES[symbol]}" for symbol in symbols[3 * num_pairs + 1 :: 2])
    return render(tokenizer, Prompt((Message("user", question),))).text + asked
