"""The rows of benchmarks.recursion_names: chains of people in plain English, and what a real model makes of them.

In: a language model's folder. Out: rows of the task `chain` of kit.training.depth_task, worded, tokenised under the
model's own chat template, and the hidden states of all of them, computed once and kept on disk.

    user:       A parcel is passed on. Max gives to Ruth. Leo gives to Anna. … Who keeps what starts with each of them?
    assistant:  From Leo From Ruth From Max …

The name that starts a question is the column that answers, at once: what follows is not the answer but the next
question, so no question helps another. The last of a chain "gives to" himself. As many rows as are computed are drawn
from again and again, with other questions each time.

Letters: N rows, T columns, K questions, S steps, L kept hidden states, D width.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.recursion_toy_training import TRAINED
from kit.engines.text.chat import render
from kit.errors import InputError
from kit.sampling import Message, Prompt
from kit.training.depth_task import ChainTask, Tables
from kit.training.hidden_states import HiddenStates, StatesKey, hidden_states

NAMES = (
    "Adam", "Alice", "Anna", "Ben", "Bob", "Carl", "Claire", "Dan", "Diana", "Emma", "Eric", "Frank", "Grace", "Harry",
    "Helen", "Jack", "Jane", "Joe", "Kate", "Leo", "Lucy", "Max", "Nick", "Paul", "Ruth", "Sam", "Tom",
)  # fmt: skip
"""Names of one token each in SmolLM2's vocabulary; a tokenizer that has another is told."""
NUM_QUERIES = 24  # of a row
AT_ONCE = 8  # rows, in which states are computed


@dataclass(frozen=True, slots=True, kw_only=True)
class WordedRows:
    """tables: of all rows, with tokens of the model in ids_BT and places in NAMES as symbols."""

    tables: Tables
    states: HiddenStates

    def hidden(self, rows_B: Sequence[int]) -> tuple[Tensor, ...]:
        """The kept states of some rows, L tensors [B, T, D]."""
        return self.states.batch(rows_B, num_columns=self.tables.ids_BT.shape[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Which rows: how many, up to how many steps their questions go, of training's maps or of the test's."""

    num_rows: int
    most_steps: int
    num_chains: int = 3
    max_steps: int = 8
    is_test: bool = False


SPLITS: Mapping[str, Split] = {
    "small": Split(num_rows=256, most_steps=3, num_chains=2, max_steps=3),
    "validation": Split(num_rows=32, most_steps=TRAINED),
    "test": Split(num_rows=128, most_steps=8, is_test=True),
    "train": Split(num_rows=768, most_steps=TRAINED),
}


def worded_rows(name: str, backbone: Any, tokenizer: Any, *, layers: tuple[int, ...], folder: Path) -> WordedRows:
    """A split's rows with the states of these layers; what was computed before is read."""
    split = SPLITS[name]
    task = ChainTask(
        num_symbols=len(NAMES), num_chains=split.num_chains, max_steps=split.max_steps, num_queries=NUM_QUERIES
    )
    symbols = task.draw(name, num_rows=split.num_rows, least_steps=1, most_steps=split.most_steps, test=split.is_test)
    tables = worded(symbols, task, tokenizer)
    key = StatesKey(
        backbone_sha256=hashlib.sha256(str(backbone.config).encode()).hexdigest(),
        tokens_sha256=hashlib.sha256(tables.ids_BT.numpy().tobytes()).hexdigest(),
        layers=layers,
        width=backbone.config.hidden_size,
        dtype=str(backbone.dtype),
    )

    @torch.no_grad()
    def compute(rows: range) -> list[Tensor]:
        found: list[Tensor] = []
        for first in range(rows.start, rows.stop, AT_ONCE):
            ids_BT = tables.ids_BT[first : min(first + AT_ONCE, rows.stop)]
            hidden = backbone.base_model(input_ids=ids_BT, use_cache=False, output_hidden_states=True).hidden_states
            found += torch.stack([hidden[layer] for layer in layers], 2).unbind(0)
        return found

    def tell(done: int) -> None:
        print(f"hidden states, {name}: {done} of {split.num_rows} rows", flush=True)

    folder.mkdir(parents=True, exist_ok=True)
    lengths = [tables.ids_BT.shape[1]] * split.num_rows
    return WordedRows(tables=tables, states=hidden_states(folder, key, lengths, compute, tell=tell))


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
    told = " ".join(f"{NAMES[giver]} gives to {NAMES[taker]}." for giver, taker in pairs)
    question = f"A parcel is passed on. {told} Who keeps what starts with each of them?"
    asked = "".join(f" From {NAMES[symbol]}" for symbol in symbols[3 * num_pairs + 1 :: 2])
    return render(tokenizer, Prompt((Message("user", question),))).text + asked
