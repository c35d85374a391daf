"""Do two versions of the kit behave alike? Their figures side by side, from the same seeds.

    python -m benchmarks.same_behaviour --before ../old/.venv/bin/kit --after .venv/bin/kit

Three checks, each a digest of what came out: policies compared on made-up problems (every number of the table),
random scenarios replayed (every solution's time, answer and votes), and dry runs whose samples are counted in order
(every sample's text and every answer). Exits with 1 if any digest differs. Made for moves and renames, which may
change words but no number.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_SOLUTION = re.compile(r"^ *[\d.]+ s \+")


def run(kit: Path, *arguments: str) -> str:
    # in another folder: children of the first version import the `kit` of the current one before their own
    with tempfile.TemporaryDirectory() as elsewhere:
        command = [str(kit.absolute()), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=elsewhere)
    if done.returncode:
        raise SystemExit(f"{kit} {' '.join(arguments)}: {done.stderr or done.stdout}")
    return done.stdout


def compared(kit: Path) -> object:
    told = run(kit, "simulate", "--compare", "--replicates", "6", "--seed", "0", "--share", "0.7", "--share", "1")
    # without what says how much is compared, on how many processes
    return [_NUMBER.findall(line) for line in told.splitlines() if line[:1] and not line.startswith("comparing ")]


def replayed(kit: Path) -> object:
    told = [run(kit, "simulate", "--replay", str(seed)) for seed in range(40, 60)]
    # up to the words of the reason, which may be said otherwise
    return [
        _NUMBER.findall(line[: line.rfind(")")]) for each in told for line in each.splitlines() if _SOLUTION.match(line)
    ]


def dry_run(kit: Path, *options: str) -> object:
    with tempfile.TemporaryDirectory() as folder:
        # with so much time that a busy machine cuts no sample short
        run(kit, "dry-run", "--out", folder, "--seed", "7", "--set", "budget.limit_s=3600", *options)
        (journal,) = Path(folder).glob("run-*/kaggle/working/journal.jsonl")
        records = [json.loads(line) for line in journal.read_text().splitlines()]
    solutions = {each["problem"]: each for each in records if each["kind"] == "solution"}
    answers = sorted((problem, each["answer"], each["votes"]) for problem, each in solutions.items())
    samples = sorted(
        (each["problem"], each["number"], each["text"])
        for each in records
        # not those that ended, by luck, between the decision and their being cancelled
        if each["kind"] == "sample" and each["number"] < solutions[each["problem"]]["num_samples"]
    )
    assert samples
    return samples, answers


CHECKS: dict[str, Callable[[Path], object]] = {
    "policies compared": compared,
    "scenarios replayed": replayed,
    "dry run, transformers": dry_run,
    "dry run, trm": lambda kit: dry_run(kit, "--engine", "trm"),
}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, required=True, help="the `kit` of the older version")
    parser.add_argument("--after", type=Path, default=Path(sys.executable).with_name("kit"))
    parser.add_argument("--only", choices=CHECKS, action="append", help="may be given again")
    args = parser.parse_args(argv)
    is_same = True
    print(f"{'check':<24}{'before':<18}{'after':<18}")
    for name in args.only or CHECKS:
        before, after = (
            hashlib.sha256(repr(CHECKS[name](kit)).encode()).hexdigest()[:16] for kit in (args.before, args.after)
        )
        is_same &= before == after
        print(f"{name:<24}{before:<18}{after:<18}{'same' if before == after else 'DIFFERENT'}", flush=True)
    return 0 if is_same else 1


if __name__ == "__main__":
    sys.exit(main())
