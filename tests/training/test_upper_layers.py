"""The upper layers alone give what the whole backbone gives, and what cannot is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModel, Qwen2Model

from kit.training.upper_layers import upper_layers

SMALL = {
    "vocab_size": 50,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "pad_token_id": None,
    "bos_token_id": None,
    "eos_token_id": 1,
}
SLIDING = {
    "layer_types": ["sliding_attention", "full_attention", "full_attention", "sliding_attention"],
    "use_sliding_window": True,
    "sliding_window": 3,
    "max_window_layers": 0,
}


def model_of(kind: str, **more: Any) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return AutoModel.from_config(AutoConfig.for_model(kind, **SMALL, **more)).double().eval()


@pytest.mark.parametrize(
    ("kind", "more"), [("qwen2", {}), ("qwen2", SLIDING), ("qwen3", {}), ("llama", {}), ("gemma", {})], ids=str
)
@pytest.mark.parametrize("num_layers", [1, 2, 4])
def test_the_upper_layers_give_what_the_whole_gives(kind: str, more: dict[str, Any], num_layers: int) -> None:
    model = model_of(kind, **more)
    upper = upper_layers(model, num_layers)
    assert upper is not None
    ids = torch.arange(12).reshape(2, 6)
    mask = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]])
    with torch.no_grad():
        whole = model(input_ids=ids, attention_mask=mask, use_cache=False, output_hidden_states=True)
        below = whole.hidden_states[-num_layers - 1]
        alone = upper(inputs_embeds=below, attention_mask=mask, use_cache=False).last_hidden_state
    torch.testing.assert_close(alone, whole.last_hidden_state, rtol=0, atol=0)


def test_the_weights_are_shared_and_the_backbone_is_as_it_was() -> None:
    model = model_of("qwen2")
    upper = upper_layers(model, 1)
    assert upper is not None
    assert (len(model.layers), model.config.num_hidden_layers) == (4, 4)
    assert upper.layers[0].mlp.up_proj.weight is model.layers[3].mlp.up_proj.weight
    assert upper.norm is model.norm


class Scaling(Qwen2Model):
    """As the first Gemma of transformers: what it is given is scaled first."""

    def forward(self, input_ids: Any = None, inputs_embeds: Any = None, **more: Any) -> Any:
        if inputs_embeds is None:
            inputs_embeds = self.get_input_embeddings()(input_ids)
        return super().forward(inputs_embeds=inputs_embeds * 5, **more)


def test_a_backbone_that_scales_what_it_is_given_has_none(caplog: pytest.LogCaptureFixture) -> None:
    model = Scaling(model_of("qwen2").config)
    assert upper_layers(model, 1) is None
    assert "the last layers of a Scaling do not run alone" in caplog.text
