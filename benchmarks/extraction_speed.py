"""Completions a second that extraction and normalisation read, on one core.

    python benchmarks/extraction_speed.py [--seconds 1.0]

Reads the recorded outputs beside the checkout (../shared/data, or KIT_SHARED_DATA); without them it makes
texts of a like length up and says so. The sympy rows run on expressions that cannot do without sympy, each
evaluated anew (sympy's own cache is warm, as it is in a run). Time is CPU time, since other processes may
share the core; the best of five repeats is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from kit.answers.extraction import extract
from kit.answers.normalisation import normalise

OUTPUTS = ("gsm8k_openai_examples", "gsm8k_tora70b_first300", "math_nemo_rs3x50", "openmathinstruct2_sample")
FILLER = "We add the cases, so that $n^2 + {} = \\frac{{{}}}{{2}}$ holds for every $n$.\n"
COMMON_SURDS = (
    r"\sqrt{2}\cdot\sqrt{8}",
    r"\frac{\sqrt{48}}{\sqrt{3}}",
    r"(\sqrt{3}+1)^2 - 2\sqrt{3}",
    r"(5+\sqrt{7})(5-\sqrt{7})",
    r"2\log_4 8",
    r"(\sqrt{2})^{10}",
)
NESTED_RADICALS = (r"\sqrt{7+4\sqrt3}+\sqrt{7-4\sqrt3}", r"\sqrt[3]{2+\sqrt5}+\sqrt[3]{2-\sqrt5}")


def shared_data() -> Path:
    return Path(os.environ.get("KIT_SHARED_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


def recorded_or_made_up() -> dict[str, list[str]]:
    folder = shared_data() / "outputs"
    if folder.is_dir():
        return {
            name: [json.loads(line)["output"] for line in (folder / f"{name}.jsonl").open(encoding="utf-8")]
            for name in OUTPUTS
        }
    print(f"no recorded outputs at {folder}: made-up texts instead")
    boxed = [FILLER.format(i, i) * 12 + f"The answer is $\\boxed{{{i}}}$." for i in range(1000)]
    stated = [FILLER.format(i, i) * 4 + f"A: {i}" for i in range(1000)]
    return {"made up, boxed": boxed, "made up, stated": stated}


def read(text: str) -> object:
    raw = extract(text)
    return normalise(raw.text) if raw else None


def rate(function: Callable[[str], object], texts: Sequence[str], seconds: float) -> float:
    """Calls a second of CPU time, the best of five repeats."""
    best = 0.0
    for _ in range(5):
        calls = 0
        start = time.process_time()
        while (elapsed := time.process_time() - start) < seconds / 5 or calls == 0:
            for text in texts:
                function(text)
            calls += len(texts)
        best = max(best, calls / elapsed)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description="speed of extraction and normalisation")
    parser.add_argument("--seconds", type=float, default=1.0, help="to spend on each row and column")
    seconds = parser.parse_args().seconds
    print(f"Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} CPUs, one used")
    print(f"{'texts':26} {'number':>6} {'mean chars':>10} {'extract/s':>10} {'+ normalise/s':>13}")
    for name, texts in recorded_or_made_up().items():
        mean_chars = sum(map(len, texts)) / len(texts)
        rates = rate(extract, texts, seconds), rate(read, texts, seconds)
        print(f"{name:26} {len(texts):6} {mean_chars:10.0f} {rates[0]:10.0f} {rates[1]:13.0f}")
    assert "sympy" not in sys.modules, "a recorded answer went through sympy"
    for name, expressions in (("sympy: common surds", COMMON_SURDS), ("sympy: nested radicals", NESTED_RADICALS)):
        texts = [rf"Hence the value is $\boxed{{{expression}}}$." for expression in expressions]
        assert all(isinstance(read(text), int) for text in texts)
        mean_chars = sum(map(len, texts)) / len(texts)
        rates = rate(extract, texts, seconds), rate(read, texts, seconds)
        print(f"{name:26} {len(texts):6} {mean_chars:10.0f} {rates[0]:10.0f} {rates[1]:13.0f}")


if __name__ == "__main__":
    main()
