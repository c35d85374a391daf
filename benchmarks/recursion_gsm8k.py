"""Does recursion pay on GSM8K? `kit train` and `kit eval` of a TRM, a fine-tune and a LoRA of as many parameters.

    python -m benchmarks.real_model out/real-model
    python -m benchmarks.recursion_gsm8k --model out/real-model --gsm8k FOLDER --math500 FILE --folder out/gsm8k

The answer is asked for at once, so that only depth can help; GSM8K's calculator marks are the recursion's step labels.
With `--answers worked` solutions are learned and written; `--train FILE` takes others than the set's own, such as those
of `kit train distill`. FOLDER holds train.jsonl and test.jsonl. The arms train some seven million parameters, on
the same examples, in the same order, at one rate. Each part goes on where it was stopped; what is there already is not
done again. Prints the kit's own table, accuracy by the number of steps, and pairs of arms with McNemar's test; draws
accuracy.png in the folder of the runs.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kit.data.sets import load
from kit.evaluation.comparison import compare
from kit.evaluation.intervals import estimated
from kit.evaluation.markdown import markdown
from kit.evaluation.metrics import Grading
from kit.evaluation.model_table import percent
from kit.evaluation.reading import read_run
from kit.evaluation.records import EvalRun
from kit.evaluation.results import summary
from kit.evaluation.slices import samples_by_problem
from kit.plots import style
from kit.plots.style import Sheet
from kit.training.methods import RESULTS
from kit.training.settings import SETTINGS

DEPTHS = (0, 1, 3, 5, 10)
COMMON = ("--batch_size", "16", "--lr", "3e-4", "--seed", "0")
ANSWERS: Mapping[str, tuple[str, ...]] = {
    "at_once": ("--answers", "at_once", "--max_length", "256"),
    "worked": ("--answers", "worked", "--max_length", "384"),
}
NUM_NEW_TOKENS = {"at_once": 16, "worked": 256}
OWN: Mapping[str, tuple[str, ...]] = {
    "trm": (
        *("--T_recursion", "4", "--T_spread", "random", "--num_latent", "1", "--N_supervision", "1"),
        *("--feature_layers", "0", "4", "22", "--kl", "0", "--halting", "0"),
    ),
    "finetune": ("--n_layers", "2"),  # a TRM has two layers, and 5 % more parameters than these
    "lora": ("--lora_layers", "2", "--rank", "347"),  # the rank at which it has as many parameters as the layers
}
MANY = 99
STEP_GROUPS = ((1, 2), (3, 3), (4, 4), (5, MANY))  # calculator marks of a solution
COLOURS = {"trm": style.BLUE, "finetune": style.ORANGE, "lora": style.GREEN}


@dataclass(frozen=True, slots=True)
class Condition:
    """An arm of a run, at one depth; None where nothing recurses."""

    arm: str
    run: EvalRun
    depth: int | None

    @property
    def name(self) -> str:
        return self.arm if self.depth is None else f"{self.arm}, T = {self.depth}"

    def rights(self, keys: frozenset[str] | None = None) -> list[float]:
        """1 or 0 for each problem, or for each of these, by the strict grade."""
        samples = samples_by_problem(self.run, self.depth)
        return [float(drawn[0].strict.is_right) for key, drawn in samples.items() if keys is None or key in keys]


def train(arm: str, args: argparse.Namespace) -> None:
    """`kit train`, unless its result is there; a run that was stopped goes on."""
    folder = args.folder / "train" / arm
    if (folder / RESULTS[arm]).exists():
        return
    if (folder / SETTINGS).exists():
        call("train", arm, "--resume", folder)
        return
    size = ("--num_samples", args.num_samples, "--epochs", args.epochs)
    data = ("--model", args.model, "--dataset", args.train or args.gsm8k / "train.jsonl")
    call("train", arm, *data, *size, *COMMON, *ANSWERS[args.answers], *OWN[arm], "--output_dir", folder)


def evaluate(arm: str, data: str, place: Path, args: argparse.Namespace) -> None:
    """`kit eval` of an arm on a set, all depths of a TRM in one run."""
    result = args.folder / "train" / arm / RESULTS[arm]
    model = {
        "trm": ("--model", args.model, "--trm", result, "--depth", ",".join(map(str, DEPTHS))),
        "finetune": ("--model", result),
        "lora": ("--model", args.model, "--adapter", result),
    }[arm]
    how = ("--max-new-tokens", NUM_NEW_TOKENS[args.answers], "--batch-size", "64", "--set", "engine.dtype=float32")
    limit = ("--limit", args.limit) if args.limit else ()
    call("eval", *model, "--data", f"{data}={place}", *how, *limit, "--out", run_folder(arm, data, args.folder))


def call(*words: object) -> None:
    """The kit's own command, in a process of its own."""
    subprocess.run([sys.executable, "-m", "kit.cli", *map(str, words)], check=True)


def run_folder(arm: str, data: str, folder: Path) -> Path:
    return folder / "eval" / f"{arm}-{data}"


def conditions(arms: Sequence[str], data: str, folder: Path) -> list[Condition]:
    """Of all arms on a set, in the order of DEPTHS."""
    runs = {arm: read_run(run_folder(arm, data, folder)) for arm in arms}
    return [Condition(arm, run, depth) for arm, run in runs.items() for depth in run.depths]


def pairs(found: Sequence[Condition]) -> Iterator[tuple[Condition, Condition]]:
    """The backbone (T = 0) beside all others; the deepest beside T = 3 and beside the arms that do not recurse."""
    by_depth = {each.depth: each for each in found if each.depth is not None}
    if not by_depth:
        return  # `--arms` without the TRM, whose run holds the backbone's
    plain = [each for each in found if each.depth is None]
    base, deepest = by_depth[min(by_depth)], by_depth[max(by_depth)]
    yield from ((base, other) for other in found if other is not base)
    yield from ((other, deepest) for other in ([by_depth[3]] if 3 in by_depth else []))
    yield from ((other, deepest) for other in plain)


def pairs_table(found: Sequence[Condition]) -> str:
    lines = [
        "| A | B | A % | B % | B less A, points | by A alone, by B alone | McNemar's p |",
        "|---|---|---:|---:|---|---|---:|",
    ]
    for first, second in pairs(found):
        told = compare(first.run, second.run, grading=Grading.STRICT, depths=(first.depth, second.depth))
        gain = f"{100 * told.gain.value:+.1f} [{100 * told.gain.low:+.1f}, {100 * told.gain.high:+.1f}]"
        alone = f"{told.num_first_only}, {told.num_second_only}"
        shares = f"{100 * told.first:.1f} | {100 * told.second:.1f}"
        lines.append(f"| {first.name} | {second.name} | {shares} | {gain} | {alone} | {told.p_value:.2g} |")
    return "\n".join(lines)


def steps_table(found: Sequence[Condition], place: Path) -> str:
    """Accuracy by how many calculator marks the set's own solution has, the last of them the answer's."""
    steps_of = {each.problem.key: len(each.steps) + 1 for each in load(f"gsm8k={place}", split="test").examples}
    groups = [frozenset(key for key, n in steps_of.items() if low <= n <= high) for low, high in STEP_GROUPS]
    heads = [_named(*group) for group in STEP_GROUPS]
    counts = [f"{head} ({len(group)})" for head, group in zip(heads, groups, strict=True)]
    lines = [f"| arm | {' | '.join(counts)} |", "|---|" + "---:|" * len(groups)]
    for each in found:
        rights = [each.rights(group) for group in groups]
        cells = [percent(estimated(values)) if values else "–" for values in rights]
        lines.append(f"| {each.name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _named(low: int, high: int) -> str:
    if high == MANY:
        return f"{low} steps and more"
    return f"{low} steps" if low == high else f"{low}–{high} steps"


def draw(by_data: Mapping[str, Sequence[Condition]], path: Path) -> None:
    """Accuracy against T, a panel a set; the arms that do not recurse are lines across."""
    with style.drawing():
        sheet = Sheet.of(5.4 * len(by_data), 4.2)
        for place, (data, found) in enumerate(by_data.items()):
            left = 0.8 + 5.2 * place
            sheet.heading(f"{data} by depth", "bars and bands: 95 % intervals", left_in=left, top_in=0.3)
            axes = sheet.panel(left_in=left, top_in=0.85, width_in=4.1, height_in=2.6)
            for each in (each for each in found if each.depth is None):
                share = estimated(each.rights())
                axes.axhline(100 * share.value, color=COLOURS[each.arm], label=each.arm)
                axes.axhspan(100 * share.low, 100 * share.high, color=COLOURS[each.arm], alpha=0.12)
            sweep = [(each.depth, estimated(each.rights())) for each in found if each.depth is not None]
            values = [100 * share.value for _, share in sweep]
            errors = [
                [100 * (share.value - share.low) for _, share in sweep],
                [100 * (share.high - share.value) for _, share in sweep],
            ]
            axes.errorbar(
                [depth for depth, _ in sweep], values, yerr=errors, color=COLOURS["trm"], marker="o", label="trm"
            )
            axes.set_ylim(bottom=0)
            axes.set_xlabel("T (0: the frozen model alone)", fontsize=style.SMALL_PT)
            axes.set_ylabel("accuracy, %", fontsize=style.SMALL_PT)
            axes.tick_params(labelsize=style.SMALL_PT, length=3)
            axes.legend(fontsize=style.SMALL_PT)
        style.save(sheet.figure, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--gsm8k", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--math500", type=Path, required=True, metavar="FILE")
    parser.add_argument("--folder", type=Path, default=Path("out/gsm8k"))
    parser.add_argument("--answers", choices=tuple(ANSWERS), default="at_once")
    parser.add_argument("--train", type=Path, metavar="FILE", help="what to train on (train.jsonl of FOLDER)")
    parser.add_argument("--num-samples", type=int, default=4000, help="to train on (%(default)s)")
    parser.add_argument("--epochs", type=int, default=5, help="(%(default)s)")
    parser.add_argument("--arms", nargs="+", choices=tuple(OWN), default=list(OWN))
    parser.add_argument("--limit", type=int, help="the first so many problems of each set (all)")
    args = parser.parse_args()
    places = {"gsm8k": args.gsm8k, "math500": args.math500}
    for arm in args.arms:
        train(arm, args)
        for data, place in places.items():
            evaluate(arm, data, place, args)
    by_data = {data: conditions(args.arms, data, args.folder) for data in places}
    runs = {id(each.run): each.run for found in by_data.values() for each in found}
    print(markdown([summary(run) for run in runs.values()]))
    for data, found in by_data.items():
        print(f"## {data}: pairs\n\n{pairs_table(found)}\n")
    print(f"## gsm8k by steps\n\n{steps_table(by_data['gsm8k'], args.gsm8k)}")
    draw(by_data, args.folder / "accuracy.png")


if __name__ == "__main__":
    main()
