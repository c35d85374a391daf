"""The rows of the names' benchmark on a real model: what is asked where, and that kept states are the model's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import torch

from benchmarks import recursion_names_rows
from benchmarks.recursion_names import DrawnRows, NamesBench, opened
from benchmarks.recursion_names_rows import NAMES, Split
from benchmarks.recursion_toy_training import LABELLED

SMALL: Mapping[str, Split] = {
    "small": Split(num_rows=8, most_steps=3, max_steps=3, num_queries=8),
    "train": Split(num_rows=8, most_steps=6),
    "validation": Split(num_rows=2, most_steps=6),
    "test": Split(num_rows=2, most_steps=8, is_test=True),
}


@pytest.fixture(scope="module")
def bench(real_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NamesBench]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmarks.recursion_names_rows.SPLITS", SMALL)
        yield opened(real_model, tmp_path_factory.mktemp("names"))


def links_of(text: str) -> dict[str, str]:
    told = text.partition("passed on:")[2].partition(". Who keeps")[0]
    return dict(link.strip().split(" to ") for link in told.split(","))


def test_the_answer_is_who_a_reader_of_the_text_arrives_at(bench: NamesBench) -> None:
    drawn = bench.held_out(test=True)
    for row, ids_T in enumerate(drawn.ids_BT):
        links = links_of(bench.tokenizer.decode(ids_T))
        for query, column in enumerate(drawn.columns_BK[row].tolist()):
            assert bench.tokenizer.decode(ids_T[column - 1 : column]).strip() == "From"
            name, num_steps = bench.tokenizer.decode(ids_T[column : column + 1]).strip(), 0
            while links[name] != name:
                name, num_steps = links[name], num_steps + 1
            assert NAMES[drawn.answers[row, query]] == name
            assert drawn.num_steps_BK[row, query] == num_steps


def test_kept_states_and_the_names_head_give_the_models_own_logits(bench: NamesBench) -> None:
    drawn = bench.draw("x", most_steps=LABELLED)
    batch = bench.recursive_batch(drawn, drawn.images_SBK)
    index_BKD = drawn.columns_BK[..., None].expand(-1, -1, batch.base_BTD.shape[-1])
    kept_BKV = bench.lm_head(batch.base_BTD.gather(1, index_BKD))
    with torch.no_grad():
        logits_BTV = bench.model(input_ids=drawn.ids_BT).logits
    own_BTV = logits_BTV[..., recursion_names_rows.name_tokens(bench.tokenizer)]
    own_BKV = own_BTV.gather(1, drawn.columns_BK[..., None].expand(-1, -1, len(NAMES)))
    assert torch.allclose(kept_BKV, own_BKV, atol=0.05)  # kept in float16


@pytest.mark.parametrize("is_small", [False, True])
def test_a_draw_asks_no_more_steps_than_it_may_and_is_the_same_by_its_name(bench: NamesBench, is_small: bool) -> None:
    drawn, again = (bench.draw("x", most_steps=LABELLED, is_small=is_small) for _ in range(2))
    assert isinstance(drawn, DrawnRows)
    assert int(drawn.num_steps_BK.max()) <= LABELLED
    assert drawn.rows_B == again.rows_B
    assert torch.equal(drawn.columns_BK, again.columns_BK)


def test_a_tokenizer_that_splits_a_name_is_told(bench: NamesBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recursion_names_rows, "NAMES", ("Anna", "Zoe"))
    with pytest.raises(recursion_names_rows.InputError, match="no single token for Zoe"):
        recursion_names_rows.name_tokens(bench.tokenizer)
