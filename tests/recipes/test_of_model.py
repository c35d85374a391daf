"""A model's own values in the settings that the user left open."""

from __future__ import annotations

from kit.config import replaced
from kit.models.facts import ModelFacts
from kit.recipes.of_model import USER, filled, origins
from kit.recipes.settings import Settings

QWEN35 = ModelFacts(config={"model_type": "qwen3_5"})


def test_what_is_left_open_is_the_models_own() -> None:
    own = filled(Settings(), QWEN35)
    params = own.solver.sampling.params(seed=3)
    assert (params.temperature, params.top_p, params.top_k, params.presence_penalty) == (1.0, 0.95, 20, 1.5)
    assert (own.solver.variant.name, own.reasoning.max_turn_tokens, params.seed) == ("brief", 32768, 3)


def test_what_the_user_sets_stays_even_at_the_kits_own_value() -> None:
    chosen = {"solver": {"prompt": "boxed", "sampling": {"temperature": 0.8, "presence_penalty": 0.0}}}
    own = filled(replaced(Settings(), chosen), QWEN35).solver
    params = own.sampling.params(seed=0)
    assert (own.variant.name, params.temperature, params.presence_penalty, params.top_k) == ("boxed", 0.8, 0.0, 20)


def test_without_a_word_of_anybodys_attempts_are_drawn_as_ever() -> None:
    solver = filled(Settings(), ModelFacts()).solver
    assert (solver.variant.name, solver.sampling.params(seed=0).temperature) == ("boxed", 0.8)
    assert solver.sampling.params(seed=0).max_new_tokens == Settings().solver.sampling.params(seed=0).max_new_tokens


def test_every_value_is_shown_with_where_it_comes_from() -> None:
    settings = replaced(Settings(), {"solver": {"sampling": {"top_k": 5}}})
    told = origins(settings, QWEN35, {"solver.sampling.top_k"})
    assert told["solver.sampling.top_k"] == (5, USER)
    assert told["solver.sampling.temperature"] == (1.0, "family Qwen3.5")
    assert told["solver.prompt"] == ("brief", "family Qwen3.5")
    nobody = origins(Settings(), ModelFacts(), ())
    assert nobody["solver.sampling.temperature"] == (0.8, "nobody says otherwise")
