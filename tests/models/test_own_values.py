"""What a model says of itself: generation_config.json, then its family's card, then what fits its size."""

from __future__ import annotations

from typing import Any

import pytest

from kit.models.facts import ModelFacts
from kit.models.own_values import guesses, own_values

SMOL: dict[str, Any] = {
    "model_type": "llama", "hidden_size": 576, "num_hidden_layers": 30, "vocab_size": 49152,
    "num_attention_heads": 9, "max_position_embeddings": 8192,
}  # fmt: skip
CHATML = "<|im_start|>"


def values(facts: ModelFacts) -> dict[str, Any]:
    return {each.name.rpartition(".")[2]: each.value for each in own_values(facts)}


def sources(facts: ModelFacts) -> dict[str, str]:
    return {each.name.rpartition(".")[2]: each.source for each in own_values(facts)}


def test_the_models_own_file_comes_before_its_familys_card() -> None:
    facts = ModelFacts(config=SMOL, chat_template=CHATML, generation={"temperature": 0.4, "top_k": -1})
    assert values(facts) == {"prompt": "short", "temperature": 0.4, "top_p": 0.9, "top_k": 0, "max_new_tokens": 512}
    assert sources(facts)["temperature"] == sources(facts)["top_k"] == "generation_config.json"
    assert sources(facts)["top_p"] == "family SmolLM2"


def test_a_greedy_file_tells_no_temperature_since_votes_need_samples_that_differ() -> None:
    facts = ModelFacts(generation={"do_sample": False, "temperature": 0.7, "top_k": 50})
    assert values(facts) == {"prompt": "boxed", "max_new_tokens": 32768}


@pytest.mark.parametrize(
    "generation",
    [{"temperature": 0}, {"temperature": "0.6"}, {"top_p": 7}, {"min_p": 1}, {"temperature": True}, {"top_k": None}],
)
def test_a_value_that_makes_no_sense_is_not_taken(generation: dict[str, Any]) -> None:
    assert values(ModelFacts(generation=generation)) == {"prompt": "boxed", "max_new_tokens": 32768}


def test_an_unknown_small_model_is_asked_without_rules_and_never_beyond_its_context() -> None:
    assert values(ModelFacts(config=SMOL))["prompt"] == "plain"
    assert values(ModelFacts(config=SMOL))["max_new_tokens"] == 1024
    assert values(ModelFacts(config={"max_position_embeddings": 4096}))["max_new_tokens"] == 4096


def test_what_a_family_wants_of_turns_and_penalties_is_told() -> None:
    told = values(ModelFacts(config={"model_type": "qwen3_5", "text_config": {"max_position_embeddings": 262144}}))
    assert (told["presence_penalty"], told["max_new_tokens"], told["max_turn_tokens"]) == (1.5, 81920, 32768)
    assert told["prompt"] == "brief"
    assert values(ModelFacts(config={"model_type": "gpt_oss"}))["prompt"] == "tools"


def test_guesses_are_told_in_one_sentence_for_unknown_models_alone() -> None:
    facts = ModelFacts(config={"model_type": "newcomer"}, generation={"temperature": 0.5})
    assert "newcomer" in guesses(facts)
    assert "gives temperature" in guesses(facts)
    assert "guessed: the prompt 'boxed'" in guesses(facts)
    assert guesses(ModelFacts(config=SMOL, chat_template=CHATML)) == ""
