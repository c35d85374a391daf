"""What drawing a step's tokens costs, beside an older checkout's way; and whether the tokens are equal.

    git show b6657ec:kit/engines/hf/drawing.py > /tmp/before.py
    python -m benchmarks.token_sampling --before /tmp/before.py

Random logits, peaked (scale 4) or flat (scale 0.5), one torch thread. Both ways take turns in one process; the least of
CPU times counts, since others may use the machine. Prints Markdown.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kit.engines.transformers import token_sampling
from kit.sampling import SamplingParams

SCALES = {"peaked": 4.0, "middling": 1.5, "flat": 0.5}
SETTINGS = {
    "top_p": SamplingParams(temperature=0.8, top_p=0.95),
    "top_k, top_p": SamplingParams(temperature=0.6, top_p=0.95, top_k=20),
    "greedy": SamplingParams(temperature=0),
}


def module_of(path: Path) -> Any:
    """The older module, which needs of the kit what is still there."""
    spec = importlib.util.spec_from_file_location("before", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


def prepared(module: Any, logits_BV: Tensor, params: SamplingParams) -> Callable[[], Tensor]:
    """A step's drawing: the tokens."""
    num_rows, vocab_size = logits_BV.shape
    settings = module.settings_of([params] * num_rows, vocab_size=vocab_size, device=logits_BV.device)
    uniform_B = torch.rand(num_rows, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return lambda: module.draw(logits_BV, settings, uniform_B).token_B


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="the older file; none: the present alone")
    parser.add_argument("--num-turns", type=int, default=6)
    args = parser.parse_args()
    torch.set_num_threads(1)
    modules = ([module_of(args.before)] if args.before else []) + [token_sampling]
    print("| rows | vocabulary | logits | setting | CPU ms: before, after | tokens |\n|---:|---:|---|---|---|---|")
    for (rows, vocab_size), (kind, scale), (name, params) in itertools.product(
        ((32, 49_152), (8, 151_936)), SCALES.items(), SETTINGS.items()
    ):
        logits_BV = scale * torch.randn(rows, vocab_size, generator=torch.Generator().manual_seed(0))
        draws = [prepared(module, logits_BV, params) for module in modules]
        spent_s = [[0.0] * args.num_turns for _ in draws]
        for turn, (way, draw) in itertools.product(range(args.num_turns), enumerate(draws)):
            begun_s = time.process_time()
            draw()
            spent_s[way][turn] = time.process_time() - begun_s
        same = "the same" if all(torch.equal(draw(), draws[0]()) for draw in draws) else "DIFFERENT"
        shown = ", ".join(f"{1000 * min(each):.0f}" for each in spent_s)
        print(f"| {rows} | {vocab_size:,} | {kind} | {name} | {shown} | {same} |", flush=True)


if __name__ == "__main__":
    main()
