"""The engine's rows against `model.generate` on a real pretrained model, in float32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from kit.engines.text.tokenizer import load_tokenizer
from kit.engines.transformers.decoding import Attempt, Decoder
from kit.engines.transformers.loading import load_model
from kit.sampling import SamplingParams

NUM_NEW = 8
QUESTIONS = (
    "What is 12 + 30?",
    "A farmer has 17 sheep and buys 5 more. How many sheep has the farmer now?",
    "Name a prime number between 20 and 30 and say why it is prime.",
)


def greedy(model: Any, prompt_ids: tuple[int, ...]) -> list[int]:
    """The tokens that `generate` writes for one prompt alone."""
    ids = torch.tensor([prompt_ids])
    mask = torch.ones_like(ids)
    settings: dict[str, Any] = {"max_new_tokens": NUM_NEW, "min_new_tokens": NUM_NEW, "do_sample": False}
    output = model.generate(input_ids=ids, attention_mask=mask, pad_token_id=0, **settings)
    new: list[int] = output[0, len(prompt_ids) :].tolist()
    return new


def test_greedy_rows_after_a_common_beginning_write_what_generate_writes_alone(real_model: Path) -> None:
    model, tokenizer = load_model(real_model, device="cpu", dtype="float32"), load_tokenizer(real_model)
    system = {"role": "system", "content": "You answer questions about numbers, in few words. " * 8}
    prompts = [
        tuple(
            tokenizer(
                tokenizer.apply_chat_template(
                    [system, {"role": "user", "content": question}], tokenize=False, add_generation_prompt=True
                ),
                add_special_tokens=False,
            )["input_ids"]
        )
        for question in QUESTIONS
    ]
    expected = [greedy(model, prompt_ids) for prompt_ids in prompts]
    params = SamplingParams(temperature=0.0, max_new_tokens=NUM_NEW)
    attempts = [Attempt(prompt_ids=ids, params=params, max_new_tokens=NUM_NEW) for ids in prompts]
    decoder = Decoder(model, eos_ids=frozenset())
    decoder.admit(attempts[:2])
    decoder.step()
    decoder.admit(attempts[2:])
    while decoder.attempts:
        decoder.step()
    assert [[token.id for token in one.tokens] for one in attempts] == expected
    logits_TV = model(input_ids=torch.tensor([[*prompts[2], *expected[2]]])).logits[0, len(prompts[2]) - 1 : -1]
    logprob_T = logits_TV.log_softmax(-1).gather(-1, torch.tensor(expected[2])[:, None])[:, 0]
    assert [token.logprob for token in attempts[2].tokens] == pytest.approx(logprob_T.tolist(), abs=1e-4)
