"""Problems whose difficulty is the number of steps that depend on each other, in plain English, for a real model.

`kit.training.depth_task` in words: boxes that lead to each other in one cycle, and "follow the links k times", to be
answered at once. The results of the steps are in a column of their own, so that a recursion can be told them.

    python -m benchmarks.depth_problems out/depth --train 4000 --test 600
    kit train trm --model MODEL --dataset out/depth/train.jsonl --answers at_once --T_spread curriculum \\
      --T_recursion 6 --num_latent 1 --N_supervision 1 --feature_layers 10 20 -1 --output_dir out/depth/trm
    kit eval --trm out/depth/trm/trm --data out/depth/test.jsonl --depth 0,1,2,3,5,8,10 --max-new-tokens 8

The test file holds steps that were not trained, too: its column `level` is the number of steps.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kit.training.depth_task import TableTask


def problems(task: TableTask, *, number: int, most_steps: int, test: bool) -> Iterator[dict[str, Any]]:
    """So many rows, with numbers of steps uniform on 1…most_steps."""
    tables = task.draw(f"english/{test}", num_rows=number, least_steps=1, most_steps=most_steps, test=test)
    for row in range(number):
        pairs = tables.ids_BT[row, : 3 * task.num_symbols].reshape(-1, 3)[:, :2].tolist()  # the third: a separator
        start = int(tables.ids_BT[row, tables.columns_BK[row, 0]])
        num_steps = int(tables.num_steps_BK[row, 0])
        results = [int(symbol) + 1 for symbol in tables.images_SBK[:num_steps, row, 0]]
        yield {
            "id": f"boxes-{'test' if test else 'train'}-{row}",
            "problem": told([(a + 1, b + 1) for a, b in pairs], start + 1, num_steps),
            "answer": str(results[-1]),
            "steps": results[:-1],
            "level": num_steps,
        }


def told(pairs: list[tuple[int, int]], start: int, num_steps: int) -> str:
    """The problem in words."""
    links = " ".join(f"Box {a} leads to {b}." for a, b in pairs)
    times = "once" if num_steps == 1 else f"{num_steps} times"
    return f"{links} Begin at box {start} and follow the links {times}. Which box do you reach?"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--boxes", type=int, default=9, help="one digit each, so at most 9")
    parser.add_argument("--trained-steps", type=int, default=4)
    parser.add_argument("--tested-steps", type=int, default=6)
    parser.add_argument("--train", type=int, default=4000)
    parser.add_argument("--test", type=int, default=600)
    args = parser.parse_args()
    task = TableTask(num_symbols=args.boxes, max_steps=args.tested_steps, num_queries=1)
    args.folder.mkdir(parents=True, exist_ok=True)
    for name, number, most in (("train", args.train, args.trained_steps), ("test", args.test, args.tested_steps)):
        path = args.folder / f"{name}.jsonl"
        rows = problems(task, number=number, most_steps=most, test=name == "test")
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        print(f"{path}: {number} problems of 1 to {most} steps")


if __name__ == "__main__":
    main()
