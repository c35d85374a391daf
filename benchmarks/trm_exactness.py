"""How exact is the TRM's cache, how does its error grow with depth, and what do approximations cost?

Four tables from random weights (no training makes a recursion contract here, so this is the hard case):
cached decoding against recomputing every prefix (ragged left-padded rows, chunked prefill, a row that
leaves), for every form and depth; the same in float32 at T = 10 over many more nets; the cache that keeps
the last step only; and early exit by convergence: how many deep recursions it saves and how far y then is
from the full depth.

    python -m benchmarks.trm_exactness [--num-seeds 5]
"""

from __future__ import annotations

import argparse
import statistics
from typing import Any

import torch

from kit.trm.language_model import RecursiveLM
from tests.trm import tiny_trm
from tests.trm.decoding_error import decoding_error, relative

DEPTHS = (0, 1, 2, 3, 5, 10)
NUM_NETS = 30
VARIANTS: tuple[dict[str, Any], ...] = tuple(
    [{"form": form} for form in tiny_trm.FORMS]
    + [{"form": form, "damped": form != "token"} for form in tiny_trm.FORMS]  # not the default
)


def build(seed: int, dtype: torch.dtype, **config: Any) -> RecursiveLM:
    """A random backbone with a random recursion."""
    backbone = tiny_trm.backbone(dtype=dtype, seed=seed)
    model = RecursiveLM(backbone, tiny_trm.trm_for(backbone, seed=100 + seed, **config))
    model.eval()
    return model


def print_exactness(num_seeds: int) -> None:
    print("## Cached decoding against recomputation: largest relative error of y (of logits)\n")
    print("| form | dtype |" + "".join(f" T={depth} |" for depth in DEPTHS) + " other argmax |")
    print("|---|---|" + "---:|" * (len(DEPTHS) + 1))
    for variant in VARIANTS:
        for dtype in (torch.bfloat16, torch.float32, torch.float64):
            cells, num_wrong = [], 0
            for depth in DEPTHS:
                errors = [decoding_error(build(seed, dtype, **variant), [depth] * 3) for seed in range(num_seeds)]
                cells.append(f"{max(e.y for e in errors):.0e} ({max(e.logits for e in errors):.0e})")
                num_wrong += sum(len(e.wrong_argmax) for e in errors)
            print(f"| {name_of(variant)} | {str(dtype)[6:]} | {' | '.join(cells)} | {num_wrong} |", flush=True)


def name_of(variant: dict[str, Any]) -> str:
    return str(variant["form"]) + (f", damped={variant['damped']}" if "damped" in variant else "")


def print_many_nets() -> None:
    print(f"\n## float32, T = 10, {NUM_NETS} random nets: the larger error of y and logits\n")
    print("| form | median | largest | nets beyond 1e-4 | other argmax |\n|---|---:|---:|---:|---:|")
    for variant in VARIANTS:
        errors = [decoding_error(build(seed, torch.float32, **variant), [10] * 3) for seed in range(NUM_NETS)]
        largest = [max(error.y, error.logits) for error in errors]
        num_wrong = sum(len(error.wrong_argmax) for error in errors)
        print(
            f"| {name_of(variant)} | {statistics.median(largest):.0e} | {max(largest):.0e} "
            f"| {sum(each > 1e-4 for each in largest)} | {num_wrong} |",
            flush=True,
        )


def print_last_step(num_seeds: int) -> None:
    print('\n## cache="last_step", an approximation: relative error of y (tokens with another argmax)\n')
    print("| T | " + " | ".join(f"{depth}" for depth in DEPTHS[1:]) + " |\n|---|" + "---:|" * (len(DEPTHS) - 1))
    cells = []
    for depth in DEPTHS[1:]:
        models = [build(s, torch.float64, form="states", cache="last_step") for s in range(num_seeds)]
        errors = [decoding_error(model, [depth] * 3, chunks=(11,)) for model in models]
        num_tokens = num_seeds * (4 * 3 + 3 * 2)  # after the prefill and 3 tokens 3 rows, then 3 times 2 rows
        num_wrong = sum(len(e.wrong_argmax) for e in errors)
        cells.append(f"{max(e.y for e in errors):.0e} ({num_wrong} of {num_tokens})")
    print("| error | " + " | ".join(cells) + " |")


@torch.no_grad()
def print_early_exit(num_seeds: int) -> None:
    print("\n## Early exit by convergence, T = 10, form anchor: depth taken, relative error of y, same argmax\n")
    print("| states move | threshold | mean depth | saved | error of y | same argmax |\n|---|---:|---:|---:|---:|---:|")
    input_ids = tiny_trm.ids(8, 24)
    for damped in (False, True):
        for threshold in (0.3, 0.1, 0.03, 0.01, 0.001):
            depths, errors, same = [], [], []
            for seed in range(num_seeds):
                model = build(seed, torch.float32, damped=damped)
                whole = model(input_ids, depth=10)
                model.trm.config.converged_below = threshold
                early = model(input_ids, depth=10)
                depths.append(early.depth.double().mean().item())
                errors.append(relative(early.y, whole.y))
                same.append((early.logits.argmax(-1) == whole.logits.argmax(-1)).double().mean().item())
            depth = sum(depths) / num_seeds
            print(
                f"| {'damped' if damped else 'replaced'} | {threshold} | {depth:.2f} | {1 - depth / 10:.0%} | "
                f"{max(errors):.0e} | {sum(same) / num_seeds:.1%} |",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-seeds", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    print_exactness(args.num_seeds)
    print_many_nets()
    print_last_step(args.num_seeds)
    print_early_exit(args.num_seeds)


if __name__ == "__main__":
    main()
