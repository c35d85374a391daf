"""Does recursion pay where depth is known? A TRM against baselines with as many trained parameters.

A tiny language model that has seen all difficulties is frozen. Every arm then trains on the same task up to TRAINED
steps; all are tested on unseen maps, by the number of steps k and, where there is one, by the depth T. Each arm and
seed is one line of JSON in the folder; whatever is there is not run again, and a run that was killed goes on.

    python -m benchmarks.recursion_toy --task table --folder out/toy/table    # each run prints its line
    python -m benchmarks.recursion_toy --task chain --folder out/toy/chain

benchmarks.recursion_toy_report makes the tables and the picture.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch

from benchmarks.recursion_toy_arms import ARMS
from benchmarks.recursion_toy_backbone import language_batch, train_backbone
from benchmarks.recursion_toy_report import read
from benchmarks.recursion_toy_training import LABELLED, TRAINED, Bench, Run, ToyBench, Trained
from kit.training.depth_task import ChainTask, DepthTask, TableTask
from kit.training.language import LanguageObjective
from kit.training.tiny.model import machine

# Each task, and the same with few pairs a row and few steps.
TASKS: Mapping[str, tuple[DepthTask, DepthTask]] = {
    "table": (TableTask(num_symbols=12, max_steps=10), TableTask(num_symbols=12, max_steps=10, num_used=4)),
    "chain": (ChainTask(), ChainTask(num_chains=2, max_steps=3)),
}
NUM_UPDATES = 4000  # of a baseline; twice as many as a recursing arm takes until its stages are over
SEEDS = (1, 2, 3)


B = TypeVar("B", bound=Bench)
Arms = Mapping[str, tuple[Callable[[B, Run], Trained], Sequence[float]]]
"""By name: what trains it, and the learning rates that are tried."""


def run(folder: Path, name: str, *, arms: Sequence[str], seeds: Sequence[int], num_updates: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    task, small = TASKS[name]
    bench = ToyBench(task=task, small=small, backbone=train_backbone(task, folder))
    chosen = {arm: ARMS[arm] for arm in arms}
    run_arms(bench, chosen, folder, base=backbone_alone(bench), seeds=seeds, num_updates=num_updates)


def run_arms(bench: B, arms: Arms[B], folder: Path, *, base: Trained, seeds: Sequence[int], num_updates: int) -> None:
    """The backbone alone, then every arm on every seed; one that has a line in the folder is not run again."""
    log = folder / "runs.jsonl"
    if not _is_done(log, "backbone", 0):
        _append(log, {"arm": "backbone", "seed": 0, "accuracy": measure(bench, base), "parameters": 0, **machine()})
    for seed in seeds:
        for arm in arms:
            if not _is_done(log, arm, seed):
                _append(log, run_arm(bench, arms, arm, seed, folder, num_updates))


def run_arm(bench: B, arms: Arms[B], name: str, seed: int, folder: Path, num_updates: int) -> dict[str, Any]:
    begun, begun_cpu_s = time.monotonic(), _cpu_s()
    rate, tried = chosen_rate(bench, arms, name, folder, num_updates)
    arm, path = arms[name][0], folder / _slug(f"{name} {seed}")
    trained = arm(bench, Run(seed=seed, rate=rate, num_updates=num_updates, folder=path))
    return {
        "arm": name,
        "seed": seed,
        "learning_rate": rate,
        "rates_tried": tried,
        "parameters": trained.num_parameters,
        "updates": trained.num_updates,
        "queries_per_update": bench.draw("size", most_steps=TRAINED).columns_BK.numel(),
        "seconds": round(time.monotonic() - begun),
        "cpu_s": round(_cpu_s() - begun_cpu_s, 1),  # of this process: of a run that was killed, the last part
        "accuracy": measure(bench, trained),
    }


def chosen_rate(bench: B, arms: Arms[B], name: str, folder: Path, num_updates: int) -> tuple[float, dict[str, float]]:
    """The rate that is best on unseen draws of training maps, on the first seed, after a sixth of the updates."""
    arm, rates = arms[name]
    if len(rates) == 1:
        return rates[0], {}
    path = folder / _slug(f"{name} rates") / "rates.json"
    if not path.exists():
        tried = {}
        for rate in rates:
            trial = Run(seed=SEEDS[0], rate=rate, num_updates=num_updates // 6, folder=path.parent / f"{rate:g}")
            tried[f"{rate:g}"] = hard(measure(bench, arm(bench, trial), test=False))
        path.write_text(json.dumps(tried))
    tried = json.loads(path.read_text())
    return float(max(tried, key=lambda rate: tried[rate])), tried


def backbone_alone(bench: ToyBench) -> Trained:
    objective = LanguageObjective(module=bench.backbone, language_model=bench.backbone)
    return Trained(
        logits=lambda tables: {-1: objective.logits(language_batch(tables))}, num_parameters=0, num_updates=0
    )


@torch.no_grad()
def measure(bench: Bench, trained: Trained, *, test: bool = True) -> dict[str, dict[str, list[int]]]:
    """[right, of how many] by depth ("-1": no depth) and number of steps."""
    tables = bench.held_out(test=test)
    measured: dict[str, dict[str, list[int]]] = {}
    for depth, logits_BKV in trained.logits(tables).items():
        right_BK = logits_BKV.argmax(-1) == tables.answers
        measured[str(depth)] = {
            str(k): [int((right_BK & (tables.num_steps_BK == k)).sum()), int((tables.num_steps_BK == k).sum())]
            for k in range(1, len(tables.images_SBK) + 1)
        }
    return measured


def hard(measured: Mapping[str, Mapping[str, Sequence[int]]]) -> float:
    """The best accuracy over depths on k from LABELLED + 1 to TRAINED."""
    shares = []
    for by_steps in measured.values():
        cells = [by_steps[str(k)] for k in range(LABELLED + 1, TRAINED + 1)]
        shares.append(sum(right for right, _ in cells) / sum(number for _, number in cells))
    return max(shares)


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _slug(text: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in text.lower())


def _append(path: Path, entry: Mapping[str, Any]) -> None:
    line = json.dumps(entry)
    print(line, flush=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def _is_done(path: Path, arm: str, seed: int) -> bool:
    return path.exists() and any(entry["arm"] == arm and entry["seed"] == seed for entry in read(path))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=list(TASKS), default="table")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--updates", type=int, default=NUM_UPDATES)
    args = parser.parse_args()
    torch.set_num_threads(1)
    run(args.folder, args.task, arms=args.arms, seeds=args.seeds, num_updates=args.updates)


if __name__ == "__main__":
    main()
