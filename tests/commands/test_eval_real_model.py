"""`kit eval` with a real pretrained model, against plain transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kit import cli
from kit.evaluation.prompts import PromptStyle, prompt_of
from kit.evaluation.reading import read_run
from tests.evaluation.asked import gsm8k_file

MAX_NEW_TOKENS = 24
SETTINGS = ("engine.num_threads=1", "engine.device=cpu", "engine.dtype=float32")


def generated(model: Path, prompts: list[Any]) -> list[str]:
    """What `generate` gives for each chat on its own: the new tokens alone, decoded by index."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    plain = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    texts = []
    for prompt in prompts:
        chat = [{"role": message.role, "content": message.content} for message in prompt.messages]
        text = tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False) if chat else prompt.text
        ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")
        with torch.inference_mode():
            out = plain.generate(**ids, do_sample=False, max_new_tokens=MAX_NEW_TOKENS)
        texts.append(tokenizer.decode(out[0, ids["input_ids"].shape[1] :], skip_special_tokens=True))
    return texts


@pytest.mark.parametrize("style", list(PromptStyle))
def test_greedy_completions_are_those_of_plain_generate(real_model: Path, tmp_path: Path, style: PromptStyle) -> None:
    told = [part for setting in SETTINGS for part in ("--set", setting)]
    asked = ["eval", "--model", str(real_model), "--data", str(gsm8k_file(tmp_path, 3)), "--prompt", style, *told]
    out = tmp_path / "out"
    assert cli.main([*asked, "--out", str(out), "--max-new-tokens", str(MAX_NEW_TOKENS)]) == 0
    run = read_run(out)
    prompts = [prompt_of(example, style) for example in run.examples]
    expected = generated(real_model, prompts)
    for completion, text in zip(run.completions, expected, strict=True):
        if style is PromptStyle.LM_EVAL:  # it ends with the first "Question:", where plain `generate` goes on
            assert text.startswith(completion.sample.text)
        else:
            assert completion.sample.text == text
