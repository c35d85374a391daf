"""The runs of benchmarks.recursion_toy as a table, a picture and one JSON file.

    python -m benchmarks.recursion_toy_report --folder out/toy/chain --target benchmarks/results/NAME

Writes TARGET.json and TARGET.png, and prints the tables for TARGET.md. Intervals are Wilson's, 95 %, over queries;
those of one row share its cycle, so they are a little too narrow.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kit.evaluation.intervals import wilson
from kit.plots import style
from kit.plots.style import Sheet

COLOURS = (style.BLUE, style.ORANGE, style.GREEN, style.RED, style.PURPLE, style.INK, style.GREY, style.MUTED)
TRAINED = 6
VARIANT = "TRM, "  # the arms of this beginning stand in the tables alone

Counts = Mapping[str, Mapping[str, Sequence[int]]]  # depth -> steps -> right, of how many
Entry = Mapping[str, Any]


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def pooled(entries: Sequence[Entry]) -> Mapping[str, Counts]:
    """Counts of each arm over its seeds."""
    sums: dict[str, dict[str, dict[str, list[int]]]] = {}
    for entry in entries:
        arm = sums.setdefault(entry["arm"], {})
        for depth, by_steps in entry["accuracy"].items():
            for steps, (right, number) in by_steps.items():
                cell = arm.setdefault(depth, {}).setdefault(steps, [0, 0])
                cell[0], cell[1] = cell[0] + right, cell[1] + number
    return sums


def table(entries: Sequence[Entry]) -> str:
    """Accuracy in per cent (its interval), by arm, depth and number of steps; over all seeds that have run."""
    seeds, sizes = defaultdict(set), {entry["arm"]: entry["parameters"] for entry in entries}
    for entry in entries:
        seeds[entry["arm"]].add(entry["seed"])
    counts = pooled(entries)
    steps = list(next(iter(next(iter(counts.values())).values())))
    lines = [
        "| arm | seeds | trained parameters | T | " + " | ".join(f"k = {k}" for k in steps) + " |",
        "|---|---|---:|---:|" + "---:|" * len(steps),
    ]
    for arm, by_depth in counts.items():
        for depth, by_steps in by_depth.items():
            named = ", ".join(map(str, sorted(seeds[arm])))
            shown = "" if depth == "-1" else depth
            cells = " | ".join(_cell(*by_steps[k]) for k in steps)
            lines.append(f"| {arm} | {named} | {sizes[arm]:,} | {shown} | {cells} |")
    return "\n".join(lines)


def groups_table(entries: Sequence[Entry]) -> str:
    """Accuracy in per cent (its interval) on three groups of k, by arm, seed and depth; "all": over an arm's seeds."""
    most = max(int(k) for k in next(iter(entries[0]["accuracy"].values())))
    ends = (0, 3, TRAINED, most)
    groups = [range(before + 1, last + 1) for before, last in itertools.pairwise(ends)]
    named = " | ".join(f"k = {group[0]}–{group[-1]}" for group in groups)
    lines = [f"| arm | seed | T | {named} |", "|---|---|---:|" + "---:|" * len(groups)]
    for arm in dict.fromkeys(entry["arm"] for entry in entries):
        own = [(str(entry["seed"]), entry["accuracy"]) for entry in entries if entry["arm"] == arm]
        own += [("all", pooled(entries)[arm])] if len(own) > 1 else []
        for seed, counts in own:
            for depth, by_steps in counts.items():
                cells = " | ".join(_cell(*_summed(by_steps, group)) for group in groups)
                lines.append(f"| {arm} | {seed} | {'' if depth == '-1' else depth} | {cells} |")
    return "\n".join(lines)


def runs_table(entries: Sequence[Entry]) -> str:
    """What each run took and chose."""
    lines = ["| arm | seed | learning rate (tried: validation, k 4–6) | updates | CPU-s |", "|---|---:|---|---:|---:|"]
    for entry in entries:
        if "learning_rate" in entry:
            tried = ", ".join(f"{rate}: {share:.1%}" for rate, share in entry["rates_tried"].items())
            rate = f"{entry['learning_rate']:g} ({tried or 'not searched'})"
            lines.append(f"| {entry['arm']} | {entry['seed']} | {rate} | {entry['updates']:,} | {entry['cpu_s']} |")
    return "\n".join(lines)


def draw(entries: Sequence[Entry], path: Path) -> None:
    """Left: TRM and baselines by the number of steps, at their best T. Right: the TRM by T, a line for each k."""
    counts = pooled(entries)
    with style.drawing():
        sheet = Sheet.of(11, 6.0)
        sheet.text("Depth that the problem needs, depth that the model has", left_in=0.4, top_in=0.3,
                   fontsize=style.TITLE_PT, fontweight="bold")  # fmt: skip
        sheet.heading("TRM and baselines", "at their best T; bars: 95 % intervals", left_in=0.8, top_in=0.85)
        left = sheet.panel(left_in=0.8, top_in=1.35, width_in=4.3, height_in=3.2)
        drawn = {arm: by_depth for arm, by_depth in counts.items() if not arm.startswith(VARIANT)}
        for (arm, by_depth), colour in zip(drawn.items(), COLOURS, strict=False):
            depth = max(by_depth, key=lambda each: _hard(by_depth[each]))
            label = arm if depth == "-1" or arm.endswith(f"T = {depth}") else f"{arm}, T = {depth}"
            _draw_line(left, [(int(k), right, of) for k, (right, of) in by_depth[depth].items()], colour, label)
        _finish(left, "dependent steps k")
        left.legend(fontsize=style.SMALL_PT, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3)
        if "TRM" in counts:
            sheet.heading("TRM by depth", "a line for each k; dashed: harder than trained", left_in=6.0, top_in=0.85)
            right = sheet.panel(left_in=6.0, top_in=1.35, width_in=4.3, height_in=3.2)
            all_steps = sorted(map(int, next(iter(counts["TRM"].values()))))
            for k, colour in zip(all_steps, COLOURS, strict=False):
                cells = [
                    (int(depth), by_steps[str(k)][0], by_steps[str(k)][1]) for depth, by_steps in counts["TRM"].items()
                ]
                _draw_line(right, cells, colour, f"k = {k}", line="-" if k <= TRAINED else "--")
            _finish(right, "T")
            right.legend(fontsize=style.SMALL_PT, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=4)
        style.save(sheet.figure, path)


def _draw_line(axes: Any, cells: Sequence[tuple[int, int, int]], colour: str, label: str, *, line: str = "-") -> None:
    numbers = [number for number, _, _ in cells]
    shares = [right / of for _, right, of in cells]
    ends = [wilson(right, of) for _, right, of in cells]
    errors = [[s - low for s, (low, _) in zip(shares, ends, strict=True)],
              [high - s for s, (_, high) in zip(shares, ends, strict=True)]]  # fmt: skip
    axes.errorbar(numbers, shares, yerr=errors, color=colour, linestyle=line, linewidth=1.4, marker="o", markersize=3,
                  label=label)  # fmt: skip


def _finish(axes: Any, label: str) -> None:
    axes.set_ylim(0, 1.02)
    axes.set_xlabel(label, fontsize=style.SMALL_PT)
    axes.set_ylabel("accuracy", fontsize=style.SMALL_PT)
    axes.tick_params(labelsize=style.SMALL_PT, length=3)
    axes.grid(linewidth=0.7)


def _hard(by_steps: Mapping[str, Sequence[int]]) -> float:
    right, number = _summed(by_steps, range(4, TRAINED + 1))
    return right / number


def _summed(by_steps: Mapping[str, Sequence[int]], steps: Sequence[int]) -> tuple[int, int]:
    """Right, and of how many."""
    cells = [by_steps[str(k)] for k in steps]
    return sum(right for right, _ in cells), sum(number for _, number in cells)


def _cell(right: int, number: int) -> str:
    low, high = wilson(right, number)
    return f"{100 * right / number:.0f} ({100 * low:.0f}–{100 * high:.0f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--target", type=Path, required=True)
    args = parser.parse_args()
    entries = read(args.folder / "runs.jsonl")
    args.target.with_suffix(".json").write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")
    draw(entries, args.target.with_suffix(".png"))
    print(f"{groups_table(entries)}\n\n{table(entries)}\n\n{runs_table(entries)}")


if __name__ == "__main__":
    main()
