"""The two parts of a backbone give what the whole gives, and a backbone that cannot be cut is left whole."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModel, Qwen2Model

from kit.training.cut_backbone import cut

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
    "sliding_window": 3,
}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "qwen2": ("qwen2", {}),
    "qwen2, sliding": ("qwen2", {**SLIDING, "use_sliding_window": True, "max_window_layers": 0}),
    "qwen3": ("qwen3", {}),
    "llama": ("llama", {}),
    "gemma": ("gemma", {}),
    "gemma 3": ("gemma3_text", SLIDING),
    "gpt-oss": ("gpt_oss", {**SLIDING, "num_local_experts": 4, "num_experts_per_tok": 2}),
}


def model_of(name: str) -> Any:
    kind, more = KINDS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return AutoModel.from_config(AutoConfig.for_model(kind, **SMALL, **more)).eval()


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("num_upper", [1, 2])
def test_the_two_parts_give_what_the_whole_gives(name: str, dtype: torch.dtype, num_upper: int) -> None:
    model = model_of(name).to(dtype)
    in_two = cut(model, num_upper)
    assert in_two is not None
    assert in_two.num_lower == 4 - num_upper
    ids = torch.arange(12).reshape(2, 6)
    mask = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]])
    with torch.no_grad():
        whole = model(input_ids=ids, attention_mask=mask, use_cache=False, output_hidden_states=True)
        below = in_two.below(ids, mask)
        above = in_two.above(below, mask)
    torch.testing.assert_close(below, whole.hidden_states[in_two.num_lower], rtol=0, atol=0)
    torch.testing.assert_close(above, whole.last_hidden_state, rtol=0, atol=0)


def test_the_weights_are_shared_and_the_backbone_is_as_it_was() -> None:
    model = model_of("qwen2")
    in_two = cut(model, 1)
    assert in_two is not None
    assert (len(model.layers), model.config.num_hidden_layers, type(model.norm).__name__) == (4, 4, "Qwen2RMSNorm")
    assert in_two.upper.layers[0].mlp.up_proj.weight is model.layers[3].mlp.up_proj.weight
    assert in_two.upper.norm is model.norm
    assert cut(model, 4) is None  # nothing lies below


class Scaling(Qwen2Model):
    """What it is given is scaled first."""

    def forward(self, input_ids: Any = None, inputs_embeds: Any = None, **more: Any) -> Any:
        if inputs_embeds is None:
            inputs_embeds = self.get_input_embeddings()(input_ids)
        return super().forward(inputs_embeds=inputs_embeds * 5, **more)


class Reading(Qwen2Model):
    """It wants the ids themselves."""

    def forward(self, input_ids: Any = None, **more: Any) -> Any:
        more.pop("inputs_embeds", None)
        if input_ids is None:
            raise ValueError("not from embeddings")
        return super().forward(input_ids=input_ids, **more)


@pytest.mark.parametrize("kind", [Scaling, Reading])
def test_a_backbone_that_cannot_be_cut_is_left_whole(kind: type[Qwen2Model], caplog: pytest.LogCaptureFixture) -> None:
    assert cut(kind(model_of("qwen2").config), 1) is None
    assert f"the last layers of a {kind.__name__} do not run alone" in caplog.text
