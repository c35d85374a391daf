"""What a model's config tells of its size."""

from __future__ import annotations

from kit.assets import TINY_MODEL
from kit.engines.text.model_folder import num_parameters, read_facts
from kit.models.facts import ModelFacts

GPT_OSS_120B = {
    "hidden_size": 2880, "num_hidden_layers": 36, "vocab_size": 201088, "num_attention_heads": 64, "head_dim": 64,
    "num_key_value_heads": 8, "intermediate_size": 2880, "num_local_experts": 128,
}  # fmt: skip
SMOLLM2_135M = {
    "hidden_size": 576, "num_hidden_layers": 30, "vocab_size": 49152, "num_attention_heads": 9,
    "num_key_value_heads": 3, "intermediate_size": 1536, "tie_word_embeddings": True,
}  # fmt: skip


def test_the_number_of_parameters_is_about_right_for_dense_models_and_experts() -> None:
    assert ModelFacts(config=SMOLLM2_135M).num_parameters == 134_479_872  # of 134,515,008
    assert abs((ModelFacts(config=GPT_OSS_120B).num_parameters or 0) / 116.8e9 - 1) < 0.02
    own = read_facts(TINY_MODEL).num_parameters or 0
    assert abs(own / num_parameters(TINY_MODEL) - 1) < 0.2


def test_a_model_that_also_sees_keeps_its_language_model_in_a_part_of_its_own() -> None:
    facts = ModelFacts(config={"model_type": "qwen3_5", "text_config": {"max_position_embeddings": 262144}})
    assert (facts.context_tokens, facts.model_type) == (262144, "qwen3_5")


def test_what_a_config_does_not_tell_is_not_made_up() -> None:
    for config in ({}, {"hidden_size": "576"}, {"hidden_size": 576, "num_hidden_layers": True, "vocab_size": 3}):
        facts = ModelFacts(config=config)
        assert facts.num_parameters is facts.context_tokens is facts.cache_bytes_a_token is None
        assert facts.quantisation == ""


def test_a_cache_holds_keys_and_values_of_every_layer() -> None:
    """vLLM's CPU build asked for 0.18 GiB for 4096 tokens of this model in float32."""
    assert ModelFacts(config=SMOLLM2_135M).cache_bytes_a_token == 2 * 30 * 3 * 64 * 4


def test_a_quantised_checkpoint_says_how() -> None:
    told = {"quantization_config": {"quant_method": "gptq", "bits": 4}}
    assert ModelFacts(config=told).quantisation == ModelFacts(config={"text_config": told}).quantisation == "gptq"


def test_where_generation_ends_is_told_by_its_own_config_or_else_the_models() -> None:
    assert ModelFacts(config={"eos_token_id": 1}, generation={"eos_token_id": [2, 3]}).stop_ids == {2, 3}
    assert ModelFacts(config={"eos_token_id": 1}, generation={"do_sample": True}).stop_ids == {1}
    assert ModelFacts(config={"text_config": {"eos_token_id": 5}}).stop_ids == {5}
    assert ModelFacts(config={"eos_token_id": None}).stop_ids == frozenset()
