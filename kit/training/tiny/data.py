"""What the tiny model learns from: fresh exercises for every step, packed into rows of fixed shape.

In: a seed and a step. Out: a `Batch` of tensors. The same seed and step give the same batch in every
process, which is what lets a killed run resume exactly. Never an exercise of the test split.

Shapes: R rows of a batch, T tokens of a row, N tokens of one exercise.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from kit.training.tiny.families import AT_ONCE, WORKED, Exercise, Split, draw
from kit.training.tiny.tokenizer import render_prompt

# How often each family is drawn, and at which difficulties (a repeated one is drawn more often).
# `table` counts double: only one token of its solution says anything.
MIX: Mapping[str, tuple[float, Sequence[int]]] = {
    **dict.fromkeys(WORKED, (1.0, (1, 2, 3, 4))),
    **dict.fromkeys(AT_ONCE, (1.0, (1, 1, 1, 2, 2, 3, 4))),
    "table": (2.0, (1, 1, 1, 1, 2, 2, 3, 4)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Packed rows of exercises that do not see each other.

    targets_RT: the token that follows. weights_RT: its share of the loss, 0 for a prompt or padding.
    positions_RT: each exercise counts from 0. mask_R1TT: True where a query (3rd) sees a key (4th).
    """

    ids_RT: Tensor
    targets_RT: Tensor
    weights_RT: Tensor
    positions_RT: Tensor
    mask_R1TT: Tensor


def exercises(seed: int, step: int) -> Iterator[Exercise]:
    """The endless stream of training exercises that belongs to one step of one seed."""
    rng = random.Random(f"{seed}/{step}")
    shares = [share for share, _ in MIX.values()]
    while True:
        (family,) = rng.choices(list(MIX), shares)
        yield draw(family, rng, difficulty=rng.choice(MIX[family][1]), split=Split.TRAIN)


def pack(stream: Iterator[Exercise], tokenizer: PreTrainedTokenizerFast, *, rows: int, row_tokens: int) -> Batch:
    """The next exercises of the stream, each whole in the first row with room, until one has none."""
    shape = (rows, row_tokens)
    ids_RT = torch.full(shape, tokenizer.pad_token_id)
    targets_RT = torch.zeros(shape, dtype=torch.long)
    weights_RT = torch.zeros(shape)
    positions_RT = torch.zeros(shape, dtype=torch.long)
    owners_RT = torch.zeros(shape, dtype=torch.long)  # which exercise; 0 is padding
    used_R = [0] * rows
    num_packed = 0
    while True:
        exercise = next(stream)
        prompt = tokenizer(render_prompt(tokenizer, exercise.problem))["input_ids"]
        solution = tokenizer(exercise.solution)["input_ids"] + [tokenizer.eos_token_id]
        length = len(prompt) + len(solution)
        row = next((r for r, used in enumerate(used_R) if used + length <= row_tokens), None)
        if row is None:
            break
        start, end = used_R[row], used_R[row] + length
        used_R[row] = end
        num_packed += 1
        ids_N = torch.tensor(prompt + solution)
        ids_RT[row, start:end] = ids_N
        targets_RT[row, start : end - 1] = ids_N[1:]
        # Between a mean over tokens (an answer at once would not count) and one over exercises.
        weights_RT[row, start + len(prompt) - 1 : end - 1] = len(solution) ** -0.5
        positions_RT[row, start:end] = torch.arange(length)
        owners_RT[row, start:end] = num_packed
    assert num_packed, f"an exercise of {length} tokens needs longer rows"
    same_RTT = owners_RT[:, :, None] == owners_RT[:, None, :]
    mask_R1TT = same_RTT.tril()[:, None]
    return Batch(
        ids_RT=ids_RT,
        targets_RT=targets_RT,
        weights_RT=weights_RT,
        positions_RT=positions_RT,
        mask_R1TT=mask_R1TT,
    )
