"""The frozen language model of benchmarks.recursion_toy: it follows one pair, and has seen every difficulty.

In: a task of kit.training.depth_task. Out: a two-layer Qwen2, D = 64, frozen.

Its first layer starts as a head that looks at the token before, its second as one that looks for columns whose token
before is the query's symbol: the two steps of a look-up, which pretrained language models have and which a random
start takes thousands of updates to form. Heads are few and wide, and RoPE's base high, since a match by content can
only use the pairs of a head that turn slowly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import Qwen2Config, Qwen2ForCausalLM

from kit.training.depth_task import DepthTask, Tables
from kit.training.ema import keep_average
from kit.training.language import LanguageBatch, LanguageObjective
from kit.training.loop import LoopRecipe, Objective, Training
from kit.training.optimiser import OptimiserRecipe, trainable
from kit.training.update import Update

NUM_ROWS = 8  # of a batch: 128 queries
SIZE, NUM_HEADS = 64, 2
ROPE_THETA = 1e6
NUM_EASY, NUM_MIXED = 100, 200  # updates


def new_backbone(task: DepthTask, *, num_layers: int = 2) -> Qwen2ForCausalLM:
    config = Qwen2Config(
        vocab_size=task.vocab_size,
        hidden_size=SIZE,
        intermediate_size=96,
        num_hidden_layers=num_layers,
        num_attention_heads=NUM_HEADS,
        num_key_value_heads=NUM_HEADS,
        max_position_embeddings=task.num_columns,
        rope_parameters={"rope_type": "default", "rope_theta": ROPE_THETA},
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
    )
    return Qwen2ForCausalLM(config)


def train_backbone(task: DepthTask, folder: Path) -> Qwen2ForCausalLM:
    """Trained on one step, then on all difficulties with one step in half of the rows; loaded where it is there."""
    torch.manual_seed(0)
    model = new_backbone(task)
    start_as_look_up(model)
    objective = LanguageObjective(module=model, language_model=model)

    def batches(name: str, most_steps: Sequence[int]) -> Callable[[int], list[LanguageBatch]]:
        num_rows = NUM_ROWS // len(most_steps)
        return lambda number: [
            language_batch(draw(task, f"{name}/{number}", num_rows=num_rows, most_steps=most)) for most in most_steps
        ]

    for name, most_steps, num_updates in (("easy", (1,), NUM_EASY), ("mixed", (1, task.max_steps), NUM_MIXED)):
        optimiser = OptimiserRecipe(learning_rate=3e-3, weight_decay=0.01, warmup_updates=20, decay_share=0.5)
        recipe = LoopRecipe(num_groups=num_updates, optimiser=optimiser, ema_decay=0.99, save_every=50)
        train(objective, batches(name, most_steps), recipe, folder / f"backbone-{name}.pt")
    return model.eval().requires_grad_(False)


@torch.no_grad()
def start_as_look_up(model: Qwen2ForCausalLM) -> None:
    """Layer 0: the token before, into a rotated copy. Layer 1: columns whose copy is this token; their own token."""
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:
            share = 0.25 if "down_proj" in name else 1.0
            nn.init.normal_(parameter, std=1.0 if "embed" in name else share * parameter.shape[1] ** -0.5)
    model.lm_head.weight.copy_(model.model.embed_tokens.weight / SIZE**0.5)
    before, match = (layer.self_attn for layer in model.model.layers)
    half = SIZE // NUM_HEADS // 2
    angle_E = ROPE_THETA ** (-torch.arange(half) / half)  # of one column
    sharpness = 6.4  # the token before gets a logit five above its neighbours'
    before.q_proj.bias.copy_(sharpness * torch.cat([torch.ones(half), torch.zeros(half)]).repeat(NUM_HEADS))
    before.k_proj.bias.copy_(sharpness * torch.cat([angle_E.cos(), angle_E.sin()]).repeat(NUM_HEADS))
    before.q_proj.weight.mul_(0.1)
    before.k_proj.weight.mul_(0.1)
    read, write, look, value = (torch.linalg.qr(torch.randn(SIZE, SIZE))[0] for _ in range(4))
    before.v_proj.weight.copy_(read)
    before.o_proj.weight.copy_(write)
    match.q_proj.weight.copy_(3 * look)
    match.k_proj.weight.copy_(3 * look @ (write @ read).T)
    match.v_proj.weight.copy_(value)
    match.o_proj.weight.copy_(2 * value.T)


def language_batch(tables: Tables) -> LanguageBatch:
    return LanguageBatch(ids_BT=tables.ids_BT, columns_BK=tables.columns_BK, targets_BK=tables.answers)


def draw(task: DepthTask, name: str, *, most_steps: int, num_rows: int = NUM_ROWS) -> Tables:
    return task.draw(name, num_rows=num_rows, least_steps=1, most_steps=most_steps)


def train(
    objective: Objective[Any],
    batches: Callable[[int], Sequence[Any]],
    recipe: LoopRecipe,
    path: Path,
    *,
    is_over: Callable[[], bool] = lambda: False,
    ends: bool = True,
) -> int:
    """Train to the end or until `is_over`; the updates taken. ends: the weights become their moving average."""
    path.parent.mkdir(parents=True, exist_ok=True)
    training = Training(
        objective=objective, batches=batches, recipe=recipe, path=path, should_stop=is_over, tell=printed(path)
    )
    training.run()
    if ends:
        keep_average(trainable(objective.module).values(), training.average)
    return training.num_groups_done


def printed(path: Path) -> Callable[[Update], None]:
    def tell(update: Update) -> None:
        if update.number % 50 == 0:
            names = ("solved", "right", "halting")
            shown = {n: round(v, 2) for n, v in sorted(update.means.items()) if n.startswith(names)}
            print(
                f"{path.parent.name}/{path.stem} {update.number} {update.loss:.3f} {update.seconds:.0f} s {shown}",
                flush=True,
            )

    return tell
