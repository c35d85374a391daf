"""The tiny model's tokenizer: byte-level BPE with Qwen's special tokens and ChatML template.

In: texts. Out: a `transformers` fast tokenizer. Every byte has a token, so any Unicode text makes
the round trip (in Unicode's normal form C, to which Qwen brings all text); every digit is a token of
its own, so numbers look the same wherever they stand.

Normalisation and word pattern are Qwen2's exactly: transformers 5 puts its Qwen2 tokenizer's own in
place of whatever a folder of that model type says. The template differs from Qwen2.5's in one thing:
no system message unless one is given (Qwen3's default), which spares every prompt a dozen tokens.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from kit.prompting import INSTRUCTION
from kit.training.tiny.families import DIFFICULTIES, FAMILIES, Split, draw

END_OF_TEXT = "<|endoftext|>"  # padding
TURN_START = "<|im_start|>"
TURN_END = "<|im_end|>"  # end of sequence

VOCAB_SIZE = 640
MAX_LENGTH = 4096  # tokens

# Qwen2's pattern: letters with one leading character, single digits, punctuation, whitespace.
WORD_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)

CHAT_TEMPLATE = (
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}"
    "{{- '<|im_start|>assistant\\n' }}"
    "{%- endif %}"
)


def train_tokenizer(texts: Iterable[str], *, vocab_size: int = VOCAB_SIZE) -> PreTrainedTokenizerFast:
    """A tokenizer of at most `vocab_size` tokens, the three special ones first."""
    bpe = Tokenizer(models.BPE())
    bpe.normalizer = normalizers.NFC()
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORD_PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    bpe.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocab_size,
            special_tokens=[END_OF_TEXT, TURN_START, TURN_END],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token=TURN_END,
        pad_token=END_OF_TEXT,
        extra_special_tokens=[TURN_START],
        chat_template=CHAT_TEMPLATE,
        padding_side="left",  # for generation; training pads by itself
        model_max_length=MAX_LENGTH,
        clean_up_tokenization_spaces=False,
    )


def save_tokenizer(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write the tokenizer so that transformers 4 and 5, and vLLM on either, load the same one."""
    tokenizer.save_pretrained(folder)
    # What transformers 5 writes by itself, transformers 4 refuses (a class it does not know, and
    # extra_special_tokens as a list).
    settings = {
        "tokenizer_class": "Qwen2Tokenizer",
        "eos_token": TURN_END,
        "pad_token": END_OF_TEXT,
        "additional_special_tokens": [TURN_START],
        "padding_side": tokenizer.padding_side,
        "model_max_length": MAX_LENGTH,
        "clean_up_tokenization_spaces": False,
    }
    text = json.dumps(settings, indent=2) + "\n"
    (folder / "tokenizer_config.json").write_text(text, encoding="utf-8")


def corpus(*, seed: int = 0, num_per_difficulty: int = 100) -> Iterator[str]:
    """Texts like those the tiny model reads and writes, from the training split alone."""
    rng = random.Random(seed)
    for family in FAMILIES:
        for difficulty in DIFFICULTIES[family]:
            for _ in range(num_per_difficulty):
                exercise = draw(family, rng, difficulty=difficulty, split=Split.TRAIN)
                yield f"user\n{exercise.problem}\n{INSTRUCTION}\nassistant\n{exercise.solution}"


def render_prompt(tokenizer: PreTrainedTokenizerFast, problem: str) -> str:
    """The text from which the tiny model goes on to answer `problem`."""
    messages = [{"role": "user", "content": f"{problem}\n{INSTRUCTION}"}]
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
