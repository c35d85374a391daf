"""Exercises as frozen states: targets by hand, spliced questions, what is kept."""

from __future__ import annotations

import random
import re
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from kit.assets import TINY_MODEL
from kit.errors import InputError
from kit.training.objective import AS_BACKBONE, at_columns
from kit.training.recursive import iterates, joined
from kit.training.tiny.evaluation import load
from kit.training.tiny.families import FAMILIES, Exercise, Split, draw
from kit.training.tiny.lookup import begin_with_lookup
from kit.training.tiny.recursion import new_trm
from kit.training.tiny.table_rows import Backbone, TableRows, kept_rows, rows_of, table_rows
from kit.trm.checkpoint import weights_sha256
from kit.trm.language_model import RecursiveLM

MOST_STEPS = 4


def tables_of(split: Split, number: int) -> list[Exercise]:
    rng = random.Random(number)
    return [draw("table", rng, difficulty=1 + index % MOST_STEPS, split=split) for index in range(number)]


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    model, tokenizer = load(TINY_MODEL)
    folder = tmp_path_factory.mktemp("states")
    return Backbone(
        model=model.requires_grad_(False), tokenizer=tokenizer, sha256=weights_sha256(TINY_MODEL), folder=folder
    )


@pytest.fixture(scope="module")
def tables(backbone: Backbone) -> TableRows:
    return table_rows(tables_of(Split.TRAIN, 12), backbone, most_steps=MOST_STEPS)


def result_by_hand(exercise: Exercise, asked: Exercise, num_steps: int) -> str:
    """What that many steps of one exercise's map make of another's start, by their texts."""
    images = dict(re.findall(r"(\d)\\to(\d)", exercise.problem))
    (symbol,) = re.findall(r"Start at \$(\d)", asked.problem)
    for _ in range(num_steps):
        symbol = images[symbol]
    return str(symbol)


def test_targets_are_the_steps_of_one_map_from_anothers_start(backbone: Backbone, tables: TableRows) -> None:
    exercises = tables_of(Split.TRAIN, 12)
    maps_B, asked_BK = torch.tensor([0, 5]), torch.tensor([[1, 2, 3], [4, 0, 11]])
    told_SBK, late_SBK = (tables.targets(maps_B, asked_BK, as_backbone=late) for late in (False, True))
    for row, exercise in enumerate(exercises[number] for number in maps_B.tolist()):
        for place, asked in enumerate(exercises[number] for number in asked_BK[row].tolist()):
            for step in range(1, MOST_STEPS + 1):
                symbol = result_by_hand(exercise, asked, min(step, asked.difficulty))
                token = backbone.tokenizer.convert_tokens_to_ids(symbol)
                assert told_SBK[step - 1, row, place] == token
                assert late_SBK[step - 1, row, place] == (token if step >= asked.difficulty else AS_BACKBONE)


def test_a_spliced_question_has_its_maps_states_and_its_own_and_sees_no_other(tables: TableRows) -> None:
    batch = tables.spliced(Generator().manual_seed(0), 3, 2, most_steps=2, as_backbone=False)
    assert batch.num_steps_BK is not None
    assert batch.visible_BKT is not None
    assert int(batch.num_steps_BK.max()) <= 2
    first, size = tables.num_map_columns, len(tables.question_Q)
    hidden_BTD = batch.hidden_LBTD[0]
    maps = tables.states_NTD[:, :first].float()
    assert all(any(torch.equal(row[:first], each) for each in maps) for row in hidden_BTD)
    asking_KQD = hidden_BTD[0, first:].view(2, size, -1)
    questions = tables.states_NTD[:, tables.question_Q].float()
    assert all(any(torch.equal(asking, each) for each in questions) for asking in asking_KQD)
    assert batch.position_BT[0, first:].tolist() == 2 * tables.question_Q.tolist()
    seen_KT = batch.visible_BKT[0, :, first:]
    assert seen_KT.tolist() == [[True] * size + [False] * size, [False] * size + [True] * size]


def test_a_question_is_the_start_the_number_of_steps_and_the_two_columns_before_the_answer(
    backbone: Backbone, tables: TableRows
) -> None:
    (exercise, *_) = tables_of(Split.TRAIN, 12)
    tokens = backbone.tokenizer.convert_ids_to_tokens(rows_of([exercise], backbone.tokenizer).tokens_of(0).tolist())
    (start,) = re.findall(r"Start at \$(\d)", exercise.problem)
    asked = [tokens[column] for column in tables.question_Q.tolist()]
    assert asked == [start, str(exercise.difficulty), r"\boxed", "{"]


def test_a_whole_exercise_recurses_as_the_model_itself_does(backbone: Backbone, tables: TableRows) -> None:
    trm = new_trm(backbone.model.config, seed=3).eval()
    torch.nn.init.normal_(trm.out.weight, std=0.05)
    model = RecursiveLM(backbone.model, trm)
    batch = tables.whole(Generator().manual_seed(1), 4, most_steps=MOST_STEPS, as_backbone=False)
    rows = rows_of(tables_of(Split.TRAIN, 12), backbone.tokenizer)
    ids_NT = torch.stack([rows.tokens_of(row)[: tables.states_NTD.shape[1]] for row in range(len(rows))])
    with torch.no_grad():
        whole_NTV = model(ids_NT, depth=3, logits_to_keep=1).logits
        *_, state = iterates(trm, batch, depth=3)
        base_BKD = at_columns(batch.base_BTD, batch.columns_BK)
        found_BV = backbone.model.lm_head(joined(trm, base_BKD, state.y))[:, 0]
    for row_V in found_BV:  # float16 rounds the states
        assert min(float((row_V - each).abs().max()) for each in whole_NTV[:, 0]) < 0.02


def test_what_is_kept_is_every_column_of_a_solution_but_an_answer_that_depth_is_to_change(backbone: Backbone) -> None:
    exercises = [draw(family, random.Random(1), difficulty=2, split=Split.TRAIN) for family in FAMILIES]
    kept = kept_rows(exercises, backbone)
    batch = kept.batch(Generator().manual_seed(0), 64, 4)
    assert set(batch.targets_SBK.flatten().tolist()) == {AS_BACKBONE}
    assert batch.answers_BK is not None
    answers = backbone.tokenizer.convert_ids_to_tokens(batch.answers_BK.flatten().tolist())
    assert set(answers) & set("0123456789")  # of worked solutions
    only_table = kept_rows(exercises[list(FAMILIES).index("table") :][:1], backbone)
    answers_BK = only_table.batch(Generator().manual_seed(0), 64, 4).answers_BK
    assert answers_BK is not None
    tokens = backbone.tokenizer.convert_ids_to_tokens(answers_BK.flatten().tolist())
    assert set(tokens) == {r"\boxed", "{", "}", backbone.tokenizer.eos_token}


def test_exercises_of_another_form_cannot_be_spliced(backbone: Backbone) -> None:
    others = [draw("chain", random.Random(number), difficulty=number, split=Split.TRAIN) for number in (1, 4)]
    with pytest.raises(InputError, match="different lengths"):
        table_rows(others, backbone, most_steps=MOST_STEPS)


def attention_of_the_first_head(trm: Any, tables: TableRows) -> Tensor:
    """Scores of the map's columns for the answering column, [N, C], without RoPE."""
    attention, size = trm.net.blocks[0].attention, trm.config.head_dim
    x_NTD = trm.inject((tables.states_NTD.float(),))
    fused_ND = x_NTD[:, -1] + trm.y_init + trm.z_init
    queries_NE = fused_ND @ attention.query.weight[:size].T
    keys_NCE = x_NTD[:, : tables.num_map_columns] @ attention.key_value.weight[:size].T
    return torch.einsum("ne,nce->nc", queries_NE, keys_NCE)


def test_the_lookup_matches_the_start_of_unseen_exercises_with_the_column_of_its_image(backbone: Backbone) -> None:
    seen = table_rows(tables_of(Split.TRAIN, 96), backbone, most_steps=MOST_STEPS)
    unseen = table_rows(tables_of(Split.TEST, 32), backbone, most_steps=MOST_STEPS)
    trm = new_trm(backbone.model.config, seed=0)
    with torch.no_grad():
        begin_with_lookup(trm, seen)
        best_N = attention_of_the_first_head(trm, unseen).argmax(-1)
    found_N = unseen.sources_NC.gather(1, best_N[:, None])[:, 0]
    assert float((found_N == unseen.starts_N).float().mean()) > 0.35  # of so few exercises; a guess: 1 in 8
    assert not trm.out.weight.any()  # and it still changes no logit


def test_states_are_computed_once(backbone: Backbone, tables: TableRows) -> None:
    told: list[int] = []
    of = backbone.model
    unable = SimpleNamespace(config=of.config, dtype=of.dtype, device=of.device)  # it cannot run
    again = Backbone(
        model=unable, tokenizer=backbone.tokenizer, sha256=backbone.sha256, folder=backbone.folder, tell=told.append
    )
    found = table_rows(tables_of(Split.TRAIN, 12), again, most_steps=MOST_STEPS)
    assert torch.equal(found.states_NTD, tables.states_NTD)
    assert not told
