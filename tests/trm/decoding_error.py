"""How far cached decoding is from recomputing every prefix: ragged rows, chunked prefill, rows that leave.

Used by the tests, which bound it, and by benchmarks/trm_exactness.py, which prints it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from kit.trm.language_model import RecursiveLM, RecursiveOutput
from tests.trm import tiny_trm

LENGTHS = (11, 4, 7)  # of the prompts, left-padded to the longest
CHUNKS = (3, 5, 3)  # of the prefill
NUM_NEW = 6
LEAVES_AFTER = 3  # new tokens, then the first row leaves and columns that are all padding are trimmed


@dataclass
class Error:
    """The largest over all rows and tokens, relative to the recomputed tensor's largest number."""

    y: float = 0.0
    logits: float = 0.0
    wrong_argmax: list[str] = field(default_factory=list)

    def add(self, output: RecursiveOutput, row: int, whole: RecursiveOutput) -> None:
        self.y = max(self.y, relative(output.y[row, -1], whole.y[0, -1]))
        self.logits = max(self.logits, relative(output.logits[row, -1], whole.logits[0, -1]))
        if output.logits[row, -1].argmax() != whole.logits[0, -1].argmax():
            self.wrong_argmax.append(f"row {row}")
        assert int(output.depth[row, -1]) == int(whole.depth[0, -1])


def relative(found: Tensor, expected: Tensor) -> float:
    return ((found - expected).abs().max() / expected.abs().max()).item()


@torch.no_grad()
def decoding_error(
    model: RecursiveLM,
    depth_B: Sequence[int],
    *,
    lengths: Sequence[int] = LENGTHS,
    num_new: int = NUM_NEW,
    chunks: Sequence[int] = CHUNKS,
) -> Error:
    """Prefill in chunks, decode, let the first row leave, decode on; compare after every token.

    chunks: sum to the longest length.
    """
    num_columns = sum(chunks)
    assert num_columns == max(lengths)
    tokens = tiny_trm.ids(len(lengths), num_columns + num_new)
    padded, mask = tiny_trm.left_padded(tokens, [length + num_new for length in lengths])
    rows, depths = list(range(len(lengths))), list(depth_B)
    error, cache, past, trimmed = Error(), None, 0, 0
    for width in (*chunks, *[1] * num_new):
        end = past + width
        output = model(
            padded[rows, trimmed + past : trimmed + end],
            attention_mask=mask[rows, trimmed : trimmed + end],
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
            depth=[depths[row] for row in rows],
        )
        cache, past = output.past_key_values, end
        if trimmed + past >= num_columns:
            for index, row in enumerate(rows):
                begin = num_columns - lengths[row]
                whole = model(padded[[row], begin : trimmed + past], depth=depths[row], logits_to_keep=1)
                error.add(output, index, whole)
        if trimmed + past == num_columns + LEAVES_AFTER:
            rows, trimmed = rows[1:], num_columns - max(lengths[1:])
            past -= trimmed
            for layer in cache.layers:
                layer.keys, layer.values = layer.keys[1:, :, trimmed:], layer.values[1:, :, trimmed:]
    return error
