"""What does an update of a recursion cost beside a fine-tune of as many parameters, in time and in memory?

Five tables: tokens with a loss a CPU second against a last-layer fine-tune at equal trained parameters, beside the
ratio that counted FLOPs predict; the same with the backbone's hidden states read from memory, as the cache gives them,
and computed for each update; an update whose places answer in half, as those of worked solutions do, with logits of all
places and of those that have a target; an update of rows of unlike lengths, in one batch and in several; and the peak
of memory against N_sup, each in a process of its own. CPU seconds of the process, the least of several turns, so that
other work on the machine does not count.

    python -m benchmarks.training_cost
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import Qwen2Config, Qwen2ForCausalLM

from kit.training.batches import Batches
from kit.training.cut_backbone import cut
from kit.training.depth_schedule import UniformDepth
from kit.training.language import LanguageBatch, LanguageObjective
from kit.training.loop import LoopRecipe, Loss, Objective, Training
from kit.training.objective import IGNORED, TokenSum, answer_loss, is_right, said
from kit.training.optimiser import OptimiserRecipe, trainable
from kit.training.recursive import RecursiveBatch, RecursiveObjective
from kit.training.rows import Rows
from kit.trm.config import TRMConfig
from kit.trm.model import TinyRecursiveModel

NUM_LAYERS, WIDTH, VOCAB = 8, 256, 4096
REAL_VOCAB = 49_152  # SmolLM2's
NUM_ROWS, NUM_COLUMNS, NUM_ANSWERING = 8, 128, 64
DEPTHS = (1, 3, 10)
NUM_SUPERVISION = (1, 4, 16)
INTERMEDIATE = 938  # makes the TRM as large as a layer of the backbone, within 1 %
NUM_TURNS = 3
NUM_UNLIKE_ROWS = 16
REAL_SHAPE: Mapping[str, int] = {  # SmolLM2-135M's last layers
    "num_hidden_layers": 3, "hidden_size": 576, "intermediate_size": 1536, "num_attention_heads": 9,
    "num_key_value_heads": 3, "max_position_embeddings": 512,
}  # fmt: skip
CPU = torch.device("cpu")


def backbone(vocabulary: int = VOCAB, **shape: int) -> Qwen2ForCausalLM:
    torch.manual_seed(0)
    small = {
        "num_hidden_layers": NUM_LAYERS, "hidden_size": WIDTH, "intermediate_size": 1024, "num_attention_heads": 8,
        "num_key_value_heads": 4, "max_position_embeddings": NUM_COLUMNS,
    }  # fmt: skip
    config = Qwen2Config(
        vocab_size=vocabulary, tie_word_embeddings=False, bos_token_id=None, eos_token_id=None, pad_token_id=None,
        **{**small, **shape},
    )  # fmt: skip
    return Qwen2ForCausalLM(config).eval().requires_grad_(False)


def language_batch() -> LanguageBatch:
    generator = torch.Generator().manual_seed(1)
    ids_BT = torch.randint(VOCAB, (NUM_ROWS, NUM_COLUMNS), generator=generator)
    columns_K = torch.arange(NUM_COLUMNS - NUM_ANSWERING, NUM_COLUMNS)
    targets_BK = torch.randint(VOCAB, (NUM_ROWS, NUM_ANSWERING), generator=generator)
    return LanguageBatch(ids_BT=ids_BT, columns_BK=columns_K.expand(NUM_ROWS, -1), targets_BK=targets_BK)


@torch.no_grad()
def recursive_batch(model: Qwen2ForCausalLM) -> RecursiveBatch:
    batch = language_batch()
    hidden_BTD = model.model(input_ids=batch.ids_BT, use_cache=False).last_hidden_state
    return RecursiveBatch(
        hidden_LBTD=(hidden_BTD,),
        base_BTD=hidden_BTD,
        position_BT=torch.arange(NUM_COLUMNS).expand(NUM_ROWS, -1),
        columns_BK=batch.columns_BK,
        targets_SBK=batch.targets_BK[None],
    )


def fine_tune(model: Qwen2ForCausalLM) -> LanguageObjective:
    model.model.layers[-1].requires_grad_(True)
    return LanguageObjective(module=model, language_model=model, cut=cut(model.model, 1))


@torch.no_grad()
def with_state_below(batch: LanguageBatch, tuned: LanguageObjective) -> LanguageBatch:
    """The batch with what the last layer is given, computed before."""
    assert tuned.cut is not None  # a Qwen2 can be cut
    return replace(batch, below_BTD=tuned.cut.below(batch.ids_BT, batch.mask_BT))


def recursion(model: Qwen2ForCausalLM, *, depth: int, num_supervision: int = 1) -> RecursiveObjective:
    """One layer, n = 1, so that its parameters are those of a layer of the backbone."""
    config = TRMConfig.for_backbone(model.config, num_layers=1, num_latent=1, intermediate_size=INTERMEDIATE)
    return RecursiveObjective(
        trm=TinyRecursiveModel(config).train(),
        lm_head=model.lm_head,
        depths=UniformDepth(least=depth, most=depth),
        num_supervision=num_supervision,
    )


def update(objective: Objective[Any], batch: Callable[[], Any]) -> Callable[[], object]:
    """A group of one batch: an update for each supervision step."""
    return group(objective, lambda: [batch()])


def group(objective: Objective[Any], batches: Callable[[], Sequence[Any]]) -> Callable[[], object]:
    recipe = LoopRecipe(num_groups=1, optimiser=OptimiserRecipe(warmup_updates=0))

    def run() -> None:
        Training(objective=objective, batches=lambda number: batches(), recipe=recipe).run()

    return run


def cpu_seconds(act: Callable[[], object]) -> float:
    act()
    least = float("inf")
    for _ in range(NUM_TURNS):
        begun = time.process_time()
        act()
        least = min(least, time.process_time() - begun)
    return least


def flops(act: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        act()
    return int(counter.get_total_flops())


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in trainable(module).values())


def print_speed() -> None:
    model = backbone()
    cached = recursive_batch(model)
    tuned = fine_tune(backbone())
    below = with_state_below(language_batch(), tuned)
    rows: list[tuple[str, nn.Module, Callable[[], object]]] = [
        ("last layer fine-tuned, states computed", tuned.module, update(tuned, language_batch)),
        ("last layer fine-tuned, states cached", tuned.module, update(tuned, lambda: below)),
    ]
    for depth in DEPTHS:
        objective = recursion(model, depth=depth)
        name = f"TRM, T = {depth}"
        rows.append((f"{name}, states cached", objective.module, update(objective, lambda: cached)))
        rows.append((f"{name}, states computed", objective.module, update(objective, lambda: recursive_batch(model))))
    print("| arm | trained parameters | answer tokens / CPU s | cost / fine-tune | FLOPs / fine-tune |")
    print("|---|---:|---:|---:|---:|")
    base_s, base_flops = 0.0, 0
    for name, module, act in rows:
        seconds, counted = cpu_seconds(act), flops(act)
        base_s, base_flops = base_s or seconds, base_flops or counted
        tokens_per_s = NUM_ROWS * NUM_ANSWERING / seconds
        print(f"| {name} | {count(module):,} | {tokens_per_s:,.0f} | {seconds / base_s:.2f} | "
              f"{counted / base_flops:.2f} |", flush=True)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class EverywhereObjective(LanguageObjective):
    """The same loss, with logits of all places."""

    def loss(self, batch: LanguageBatch, carry: None, rng: random.Random) -> Loss:
        """See Objective."""
        model = said(self.logits(batch))
        answer = answer_loss(model, batch.targets_BK)
        return Loss(answer=answer, measured={"right": TokenSum(is_right(model, batch.targets_BK).sum(), answer.number)})


def print_padding() -> None:
    model = backbone(REAL_VOCAB)
    tuned = fine_tune(model)
    everywhere = EverywhereObjective(module=model, language_model=model, cut=tuned.cut)
    below = half_of(with_state_below(language_batch(), tuned))
    plain = recursive_batch(model)
    half = replace(plain, targets_SBK=below.targets_BK[None])
    asked_of_all = replace(half, answers_BK=plain.targets_SBK[0])  # by the halting head, which has no share
    recursive = recursion(model, depth=3)
    print("\n| arm | logits of all places, CPU s | of those with a target, CPU s | less |\n|---|---:|---:|---:|")
    for name, acts in (
        ("last layer fine-tuned", (update(everywhere, lambda: below), update(tuned, lambda: below))),
        ("TRM, T = 3", (update(recursive, lambda: asked_of_all), update(recursive, lambda: half))),
    ):
        before_s, after_s = map(cpu_seconds, acts)
        print(f"| {name} | {before_s:.2f} | {after_s:.2f} | {1 - after_s / before_s:.0%} |", flush=True)


def print_split() -> None:
    """The rows of one update, half of each its prompt, with lengths as those of GSM8K's solutions."""
    generator = np.random.default_rng(0)
    lengths = generator.lognormal(np.log(200), 0.28, NUM_UNLIKE_ROWS).clip(90, 384).astype(np.int64)
    tokens = generator.integers(REAL_VOCAB, size=lengths.sum()).astype(np.int32)
    rows = Rows(tokens=tokens, offsets=np.cumsum([0, *lengths]), answers=lengths // 2)
    model = backbone(REAL_VOCAB, **REAL_SHAPE)
    model.model.layers[-2:].requires_grad_(True)
    tuned = LanguageObjective(module=model, language_model=model, cut=cut(model.model, 2))
    print("\n| rows of a batch | batches | columns | CPU s | less |\n|---:|---:|---:|---:|---:|")
    whole_s = 0.0
    for number in (1, 2, 4):
        size = NUM_UNLIKE_ROWS // number
        batches = Batches(rows=rows, batch_size=size, accumulated=number, seed=0, rank=0, number=1, device=CPU)
        made = [with_state_below(batch, tuned) for batch in batches.of_group(0)]
        seconds = cpu_seconds(group(tuned, lambda made=made: made))  # type: ignore[misc]
        whole_s = whole_s or seconds
        columns = sum(batch.ids_BT.numel() for batch in made)
        print(f"| {size} | {number} | {columns:,} | {seconds:.2f} | {1 - seconds / whole_s:.0%} |", flush=True)


def half_of(batch: LanguageBatch) -> LanguageBatch:
    """The batch with a target at the first half of a row's places."""
    targets_BK = batch.targets_BK.clone()
    targets_BK[:, NUM_ANSWERING // 2 :] = IGNORED
    return replace(batch, targets_BK=targets_BK)


def print_memory() -> None:
    print("\n| N_sup | peak of the process, MiB | above N_sup = 1 |\n|---:|---:|---:|")
    first = 0.0
    for number in NUM_SUPERVISION:
        command = [sys.executable, "-m", "benchmarks.training_cost", "--num-supervision", str(number)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peak = float(json.loads(done.stdout)["peak_mib"])
        first = first or peak
        print(f"| {number} | {peak:.0f} | {peak - first:+.0f} |", flush=True)


def peak_mib(num_supervision: int) -> float:
    model = backbone()
    cached = recursive_batch(model)
    update(recursion(model, depth=3, num_supervision=num_supervision), lambda: cached)()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-supervision", type=int, help="only print the peak of memory of one such group")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.num_supervision is not None:
        print(json.dumps({"peak_mib": peak_mib(args.num_supervision)}))
        return
    print_speed()
    print_padding()
    print_split()
    print_memory()


if __name__ == "__main__":
    main()
