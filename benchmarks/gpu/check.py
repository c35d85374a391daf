"""One table of what must hold on a GPU, each line from a process of its own, all within nine minutes.

    python -m benchmarks.gpu.check [--device cpu] [--vllm-python PYTHON] [NAME ...]

Run by check.sh, which makes the environment. In: the device, vLLM's interpreter (default: this one), and which lines
(default: all). Out: a table in Markdown, and the exit status 1 if a line failed. What this machine cannot show is "not
run", with the reason, and is no failure. A line that takes too long has failed.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parents[2]
BUDGET_S = {"cuda": 540.0, "cpu": math.inf}
LINE_S = {"cuda": 170.0, "cpu": None}
"""For all lines, and for one process; a CPU that others use too may take as long as it likes."""
LARGEST_ERROR = {"bfloat16": 0.5, "float32": 1e-3}
"""Of y and logits at T <= 10, relative: on a CPU, over 6 random nets, bfloat16 gave 0.29 at T = 10, 0.06 at T = 3 and
0.02 at T = 0 (2026-11-26). An indexing fault gives 1 and more; float32, which has the same code, is the sharp test."""
LEAST_AGREEMENT = 0.7
"""Of greedy texts of 24 tokens under other kernels: bfloat16 rounds otherwise, and a text that parts once counts."""


class NotRunError(Exception):
    """Why this machine cannot show a line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Where lines are run. python: with the kit and its tests. vllm: with vLLM and the kit; None: there is none."""

    device: str
    python: Path
    vllm: Path | None
    scratch: Path

    @property
    def is_gpu(self) -> bool:
        """Whether this is the real thing."""
        return self.device == "cuda"

    def run(self, *command: str, python: Path | None = None, environ: Mapping[str, str] | None = None) -> str:
        """What a child prints.

        Raises: AssertionError with the end of what it printed, if it fails or takes too long.
        """
        limit_s = LINE_S[self.device]
        chosen = python or self.python
        own = os.environ.get("PYTHONPATH", "") if chosen == self.python else ""  # PYTHON's packages may lie there
        path = os.pathsep.join(filter(None, (str(REPO), own)))
        told = {**os.environ, "PYTHONPATH": path, "KIT_TEST_DEVICE": self.device, **(environ or {})}
        argv = [str(chosen), *command]
        try:
            done = subprocess.run(
                argv, cwd=REPO, env=told, capture_output=True, text=True, check=False, timeout=limit_s
            )
        except subprocess.TimeoutExpired as late:
            raise AssertionError(f"not done after {limit_s:.0f} s") from late
        if done.returncode:
            raise AssertionError("; ".join((done.stdout + done.stderr).strip().splitlines()[-4:]))
        return done.stdout

    def report(self, *command: str, python: Path | None = None) -> dict[str, Any]:
        """The JSON object on the last line that a child prints."""
        found = json.loads(self.run(*command, python=python).strip().splitlines()[-1])
        assert isinstance(found, dict)
        return found

    def served(self, mode: str) -> dict[str, Any]:
        """What `benchmarks.gpu.served` reports of a mode; kept, since several lines ask for it."""
        kept = self.scratch / f"{mode}.json"
        if not kept.exists():
            command = ("-m", "benchmarks.gpu.served", str(self.scratch), "--mode", mode, "--device", self.device)
            kept.write_text(json.dumps(self.report(*command, python=self._vllm())))
        found = json.loads(kept.read_text())
        assert isinstance(found, dict)
        return found

    def _vllm(self) -> Path:
        if self.vllm is None:
            raise NotRunError("no vLLM here: give a folder of wheels")
        return self.vllm


def machine(bench: Bench) -> str:
    """What runs this, and that torch computes on the device."""
    code = (
        "import torch; d = __import__('sys').argv[1]; x = torch.ones(64, 64, device=d, dtype=torch.bfloat16); "
        "assert (x @ x).sum().item() == 64**3; "
        "print(torch.__version__, torch.cuda.get_device_name() if d == 'cuda' else 'CPU', torch.version.cuda)"
    )
    return f"Python {platform.python_version()}, torch {bench.run('-c', code, bench.device).strip()}"


def contract(bench: Bench) -> str:
    """The engine contract over the transformers engine."""
    return _pytest(bench, "tests/engines/transformers/test_engine.py")


def trm_contract(bench: Bench) -> str:
    """The engine contract over the TRM's engine."""
    return _pytest(bench, "tests/engines/trm/test_engine.py")


def vllm_contract(bench: Bench) -> str:
    """The engine contract over a supervised vLLM."""
    if bench.vllm is None:
        raise NotRunError("no vLLM here: give a folder of wheels")
    return _pytest(bench, "tests/engines/vllm/test_real.py", environ={"KIT_VLLM_PYTHON": str(bench.vllm)})


def identity(bench: Bench) -> str:
    """T = 0 is the backbone bit for bit, in bfloat16."""
    told = bench.report("-m", "benchmarks.gpu.recursion", "--device", bench.device)["identity"]
    assert told["same"] == told["nets"], f"{told['same']} of {told['nets']} nets"
    return f"bit for bit in {told['nets']} nets"


def exactness(bench: Bench) -> str:
    """Cached decoding is the recomputed one, in bfloat16 and, much closer, in float32."""
    cells = []
    for dtype, limit in LARGEST_ERROR.items():
        error = bench.report("-m", "benchmarks.gpu.recursion", "--device", bench.device, "--dtype", dtype)["error"]
        cells.append(f"{dtype} " + ", ".join(f"T={depth}: {value:.0e}" for depth, value in error.items()))
        assert max(error.values()) <= limit, f"{cells[-1]}, at most {limit:g}"
    return "; ".join(cells)


def plugin(bench: Bench) -> str:
    """The plugin in vLLM, eager: T = 0 has the backbone's tokens, T = 3 others."""
    plain, eager = bench.served("plain")["tokens"], bench.served("eager")["tokens"]
    same, moved = _agreement(eager["0"], plain["0"]), 1 - _agreement(eager["3"], plain["0"])
    assert same >= (LEAST_AGREEMENT if bench.is_gpu else 1), f"T=0 agrees with the backbone in {same:.0%} of texts"
    assert moved > 0.5, f"T=3 moves {moved:.0%} of texts"
    return f"T=0 agrees with the backbone in {same:.0%} of texts, T=3 moves {moved:.0%}"


def compiled(bench: Bench) -> str:
    """torch.compile in its default mode and piecewise CUDA graphs, with the plugin, give the eager tokens."""
    _needs_gpu(bench)
    told = bench.served("compiled")
    assert "PIECEWISE" in told["graphs"], told["graphs"]
    assert "NONE" not in told["compilation"], told["compilation"]
    shares = {
        depth: _agreement(texts, bench.served("eager")["tokens"][depth]) for depth, texts in told["tokens"].items()
    }
    assert min(shares.values()) >= LEAST_AGREEMENT, shares
    agree = ", ".join(f"T={depth}: {share:.0%}" for depth, share in shares.items())
    return f"{told['compilation']}, {told['graphs']}; texts as eager: {agree}"


def fp8(bench: Bench) -> str:
    """The FP8 cache, with the plugin, graphs and compiling, makes whole texts and recurses."""
    _needs_gpu(bench)
    told = bench.served("fp8")
    assert "fp8" in told["cache"], told["cache"]
    moved = 1 - _agreement(told["tokens"]["3"], told["tokens"]["0"])
    assert moved > 0.5, f"T=3 moves {moved:.0%} of texts"
    same = _agreement(told["tokens"]["0"], bench.served("plain")["tokens"]["0"])
    return f"cache {told['cache']}; T=0 agrees with bfloat16 in {same:.0%} of texts, T=3 moves {moved:.0%}"


LINES: Mapping[str, Callable[[Bench], str]] = {
    "machine": machine,
    "identity": identity,
    "exactness": exactness,
    "contract": contract,
    "trm-contract": trm_contract,
    "plugin": plugin,
    "compiled": compiled,
    "fp8": fp8,
    "vllm-contract": vllm_contract,
}


def _pytest(bench: Bench, path: str, *, environ: Mapping[str, str] | None = None) -> str:
    options = ("-o", "addopts=--import-mode=importlib", "-p", "no:cacheprovider", "-k", "TestContract")
    return bench.run("-m", "pytest", *options, path, environ=environ).strip().splitlines()[-1].strip("= ")


def _needs_gpu(bench: Bench) -> None:
    if not bench.is_gpu:
        raise NotRunError("needs a GPU")


def _agreement(texts: Sequence[Sequence[int]], others: Sequence[Sequence[int]]) -> float:
    return sum(list(one) == list(other) for one, other in zip(texts, others, strict=True)) / len(texts)


def line(name: str, bench: Bench, *, left_s: float) -> tuple[str, str]:
    """A line's outcome, `passed`, `FAILED` or `not run`, and what there is to say of it."""
    if left_s <= 0:
        return "not run", f"the {BUDGET_S[bench.device]:.0f} s are over"
    try:
        return "passed", LINES[name](bench)
    except NotRunError as reason:
        return "not run", str(reason)
    except (AssertionError, ValueError, KeyError, IndexError, OSError) as fault:
        return "FAILED", str(fault)


def main() -> int:
    """Run the lines, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[[], *LINES], metavar="NAME", help=", ".join(LINES))
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--vllm-python", type=Path)
    args = parser.parse_args()
    begun_s, outcomes = time.monotonic(), []
    print(f"| line on {args.device} | outcome | s | what was seen |\n|---|---|---:|---|", flush=True)
    with tempfile.TemporaryDirectory(prefix="kit-gpu-check-") as scratch:
        bench = Bench(device=args.device, python=Path(sys.executable), vllm=args.vllm_python, scratch=Path(scratch))
        for name in args.names or LINES:
            line_s = time.monotonic()
            outcome, words = line(name, bench, left_s=BUDGET_S[args.device] - (line_s - begun_s))
            outcomes.append(outcome)
            words = " ".join(words.split()).replace("|", "/")
            print(f"| {name} | {outcome} | {time.monotonic() - line_s:.0f} | {words} |", flush=True)
    print(f"\n{time.monotonic() - begun_s:.0f} s; {outcomes.count('passed')} of {len(outcomes)} passed")
    return int("FAILED" in outcomes)


if __name__ == "__main__":
    sys.exit(main())
