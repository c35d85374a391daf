"""How fast is `kit eval` beside lm-evaluation-harness and beside transformers' own `generate`?

    python -m benchmarks.eval_speed --model DIR --problems FILE.jsonl [--num-problems 64] [--lm-eval-python PYTHON]

The same first problems of a file (JSON lines with "question" and "answer", as GSM8K has them), one greedy completion
each with the same boxed prompt, batch and limit, in processes of their own: `kit eval`, `lm_eval --model hf`,
and static left-padded batches of `model.generate` in the order of the file. Prompts are as ragged as the file, and
completions end where the model ends them. The runs take turns, each second round in reverse. A round of one problem
and one token is the tare of each: what it takes to start and load is subtracted. A token is one of the model's
tokenizer in the text that came out, for all; none for what is generated behind the end of a row.

CPU seconds, of the process and its children, tell more than seconds where others use the machine. `--lm-eval-python`
is an interpreter with lm-evaluation-harness; without it that row is left out. `--vllm-python` is one with vLLM: it adds
`kit eval --engine vllm` and vLLM's own `LLM.generate` with the same settings. `--only-vllm` leaves the others out.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.extraction_agreement import rows
from kit.prompting import INSTRUCTION


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What every harness is asked."""

    model: Path
    problems: Path
    num_problems: int
    batch_size: int
    max_new_tokens: int
    num_threads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """One process: wall and CPU seconds, and the texts that it made."""

    wall_s: float
    cpu_s: float
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """The median of a harness's rounds, less its tare."""

    num_tokens: int
    wall_s: float
    cpu_s: float


_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h

Harness = Callable[[Workload, Path], tuple[list[str], Callable[[], list[str]]]]
"""A workload and a scratch folder in; a command out, and what reads the texts once it has run."""


# ------------------------------------------------------------------------------------------- harnesses


def kit_eval(load: Workload, scratch: Path, *more: str) -> tuple[list[str], Callable[[], list[str]]]:
    """`kit eval` of this very environment, with `more` options."""
    command = [
        str(Path(sys.executable).parent / "kit"), "eval", "--model", str(load.model),
        "--data", f"gsm8k={load.problems}", "--limit", str(load.num_problems), "--batch-size", str(load.batch_size),
        "--max-new-tokens", str(load.max_new_tokens), "--out", str(scratch / "run"),
        "--set", "engine.dtype=float32", "--set", f"engine.num_threads={load.num_threads}", *more,
    ]  # fmt: skip

    def texts() -> list[str]:
        from kit.evaluation.reading import read_run

        return [completion.sample.text for completion in read_run(scratch / "run").completions]

    return command, texts


def kit_eval_over_vllm(python: Path) -> Harness:
    """`kit eval --engine vllm`: a server of its own, started and ended in its time."""

    def harness(load: Workload, scratch: Path) -> tuple[list[str], Callable[[], list[str]]]:
        chosen = json.dumps([f"{name}={value}" for name, value in vllm_settings(load).items()])
        engine = ("--engine", "vllm", "--set", f"engine.vllm.python={python}", "--set", "engine.vllm.preset=cpu")
        return kit_eval(load, scratch, *engine, "--set", f"engine.vllm.settings={chosen}")

    return harness


def llm_generate(python: Path) -> Harness:
    """This file as a child of vLLM's interpreter: `LLM.generate`, all prompts in one call."""

    def harness(load: Workload, scratch: Path) -> tuple[list[str], Callable[[], list[str]]]:
        command, texts = plain_generate(load, scratch)
        return [str(python), *command[1:], "--with-vllm"], texts

    return harness


def vllm_settings(load: Workload) -> dict[str, int]:
    """What both ways over vLLM are told beside the preset of a CPU; left alone they choose differently."""
    return {
        "max_model_len": 1024 + load.max_new_tokens,
        "max_num_seqs": load.batch_size,
        "max_num_batched_tokens": 4096,
        "kv_cache_bytes": 1 << 30,
        "omp_threads": load.num_threads,
    }


def llm_generate_into(load: Workload, out: Path) -> None:
    """With the server's settings, in vLLM's own process."""
    from benchmarks.vllm_offline import open_llm
    from kit.engines.vllm.server.settings import CPU

    os.environ.update(CPU.extra_environment)
    chosen = vllm_settings(load)
    arguments = {
        "max_model_len": chosen["max_model_len"],
        "max_num_seqs": chosen["max_num_seqs"],
        "max_num_batched_tokens": chosen["max_num_batched_tokens"],
        "kv_cache_memory_bytes": chosen["kv_cache_bytes"],
        "dtype": CPU.dtype,
        "enforce_eager": CPU.eager,
        "enable_prefix_caching": CPU.prefix_caching,
        "generation_config": "vllm",
        "enable_chunked_prefill": False,
    }
    llm = open_llm(str(load.model), arguments, has_own_process=True)
    from vllm import SamplingParams

    params = SamplingParams(temperature=0, max_tokens=load.max_new_tokens)
    outputs = llm.chat([[{"role": "user", "content": asked}] for asked in contents(load)], params, use_tqdm=False)
    out.write_text(json.dumps([output.outputs[0].text for output in outputs]))


def lm_eval(python: Path) -> Harness:
    """`lm_eval --model hf` of another environment, on a task of its own with the kit's prompt."""

    def harness(load: Workload, scratch: Path) -> tuple[list[str], Callable[[], list[str]]]:
        (scratch / "speed.yaml").write_text(json.dumps(task_of(load)))  # JSON is YAML
        command = [
            str(python), "-m", "lm_eval", "run", "--model", "hf",
            "--model_args", f"pretrained={load.model},dtype=float32", "--include_path", str(scratch),
            "--tasks", "speed", "--apply_chat_template", "--device", "cpu", "--batch_size", str(load.batch_size),
            "--limit", str(load.num_problems), "--log_samples", "--output_path", str(scratch / "out"),
        ]  # fmt: skip

        def texts() -> list[str]:
            (samples,) = (scratch / "out").rglob("samples_speed_*.jsonl")
            return [row["resps"][0][0] for row in rows(samples)]

        return command, texts

    return harness


def task_of(load: Workload) -> Mapping[str, Any]:
    """The harness's task: the kit's boxed prompt, ended by the model alone or by the limit."""
    return {
        "task": "speed",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(load.problems)}},
        "output_type": "generate_until",
        "test_split": "test",
        "num_fewshot": 0,
        "doc_to_text": "{{question}}\n" + INSTRUCTION,
        "doc_to_target": "{{answer}}",
        "generation_kwargs": {"until": ["<|im_end|>"], "do_sample": False, "max_gen_toks": load.max_new_tokens},
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
        "metadata": {"version": 1.0},
    }


def plain_generate(load: Workload, scratch: Path) -> tuple[list[str], Callable[[], list[str]]]:
    """This file as a child: `model.generate` and no more."""
    out = scratch / "texts.json"
    command = [
        sys.executable, "-m", "benchmarks.eval_speed", "--generate-into", str(out), "--model", str(load.model),
        "--problems", str(load.problems), "--num-problems", str(load.num_problems),
        "--batch-size", str(load.batch_size), "--max-new-tokens", str(load.max_new_tokens),
        "--num-threads", str(load.num_threads),
    ]  # fmt: skip
    return command, lambda: list(json.loads(out.read_text()))


def generate_into(load: Workload, out: Path) -> None:
    """Static batches in the file's order."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(load.num_threads)
    tokenizer = AutoTokenizer.from_pretrained(load.model, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(load.model, dtype=torch.float32)
    asked = contents(load)
    texts: list[str] = []
    for start in range(0, len(asked), load.batch_size):
        inputs = tokenizer.apply_chat_template(
            [[{"role": "user", "content": content}] for content in asked[start : start + load.batch_size]],
            add_generation_prompt=True,
            padding=True,
            return_dict=True,
            return_tensors="pt",
        )
        made = model.generate(**inputs, do_sample=False, max_new_tokens=load.max_new_tokens)
        texts += tokenizer.batch_decode(made[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    out.write_text(json.dumps(texts))


def contents(load: Workload) -> list[str]:
    """What a user would ask: the kit's boxed prompt."""
    return [f"{row['question']}\n{INSTRUCTION}" for row in islice(rows(load.problems), load.num_problems)]


# --------------------------------------------------------------------------------------------- timing


def timed(harness: Harness, load: Workload) -> Timed:
    """One run in a process of its own.

    Raises: SystemExit with the end of what it wrote, if it fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        command, texts = harness(load, Path(folder))
        quiet = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(load.num_threads), "TOKENIZERS_PARALLELISM": "false"}
        begun_s, begun_cpu_s = time.perf_counter(), _children_cpu_s()
        ended = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **quiet}, check=False)
        _wait_for_orphans()
        wall_s, cpu_s = time.perf_counter() - begun_s, _children_cpu_s() - begun_cpu_s
        if ended.returncode:
            raise SystemExit(f"{' '.join(command)} ended with {ended.returncode}:\n{ended.stderr[-3000:]}")
        return Timed(wall_s=wall_s, cpu_s=cpu_s, texts=tuple(texts()))


def _adopt_orphans() -> None:
    """Have processes whose parent ends come to this one, so that what they used counts: vLLM leaves its engine's."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _wait_for_orphans() -> None:
    with suppress(ChildProcessError):
        while True:
            os.wait()


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def order_of(names: Sequence[str], num_rounds: int) -> list[str]:
    """Whose turn it is: every name in each round, each second round in reverse."""
    return [name for turn in range(num_rounds) for name in (names[::-1] if turn % 2 else names)]


def speed_of(runs: Sequence[Timed], tare: Timed, count: Callable[[str], int]) -> Speed | None:
    """The median of the runs less the tare; tokens of the first, since greedy runs make the same.

    None where the runs took no longer than the tare: then there was too little to do, or the machine too busy.
    """
    speed = Speed(
        num_tokens=sum(map(count, runs[0].texts)) - sum(map(count, tare.texts)),
        wall_s=statistics.median(run.wall_s for run in runs) - tare.wall_s,
        cpu_s=statistics.median(run.cpu_s for run in runs) - tare.cpu_s,
    )
    return speed if min(speed.wall_s, speed.cpu_s, speed.num_tokens) > 0 else None


# ---------------------------------------------------------------------------------------------- the table


def main() -> None:
    args = _parse()
    load = Workload(
        model=args.model.resolve(),
        problems=args.problems.resolve(),
        num_problems=args.num_problems,
        batch_size=args.batch_size,
        max_new_tokens=args.max_new_tokens,
        num_threads=args.num_threads,
    )
    if args.generate_into is not None:
        (llm_generate_into if args.with_vllm else generate_into)(load, args.generate_into)
        return
    _adopt_orphans()
    harnesses = _harnesses(args)
    print(f"{load}, {args.num_rounds} rounds, load average {os.getloadavg()[0]:.1f}", flush=True)
    tares = {name: timed(harness, _tare(load)) for name, harness in harnesses.items()}
    runs: dict[str, list[Timed]] = {name: [] for name in harnesses}
    for name in order_of(list(harnesses), args.num_rounds):
        runs[name].append(timed(harnesses[name], load))
        latest, tare = runs[name][-1], tares[name]  # told at once: a later run may break, or take too long
        print(
            f"{name}: {latest.wall_s:.1f} s, {latest.cpu_s:.1f} CPU s (tare {tare.wall_s:.1f}, {tare.cpu_s:.1f})",
            flush=True,
        )
    count = _counter(load.model)
    _show({name: speed_of(runs[name], tares[name], count) for name in harnesses}, tares)
    _show_equal(runs)


def _harnesses(args: argparse.Namespace) -> dict[str, Harness]:
    """By name; the first is the one that the others are compared with."""
    found: dict[str, Harness] = {}
    if not args.only_vllm:
        found |= {"kit eval": kit_eval, "model.generate, static batches": plain_generate}
        if args.lm_eval_python is not None:
            found["lm_eval --model hf"] = lm_eval(args.lm_eval_python)
    if args.vllm_python is not None:
        python = args.vllm_python.absolute()  # a link that leads to a bare Python is not followed
        found |= {"kit eval --engine vllm": kit_eval_over_vllm(python), "vLLM's LLM.generate": llm_generate(python)}
    return found


def _tare(load: Workload) -> Workload:
    return replace(load, num_problems=1, max_new_tokens=1)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--problems", type=Path, required=True)
    parser.add_argument("--lm-eval-python", type=Path)
    parser.add_argument("--vllm-python", type=Path)
    parser.add_argument("--only-vllm", action="store_true")
    for name, default in (("num-problems", 64), ("batch-size", 16), ("max-new-tokens", 256)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--num-rounds", type=int, default=2)
    parser.add_argument("--num-threads", type=int, default=1)
    parser.add_argument("--generate-into", type=Path, help=argparse.SUPPRESS)  # the child that runs generate
    parser.add_argument("--with-vllm", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only_vllm and args.vllm_python is None:
        parser.error("--only-vllm needs --vllm-python")
    return args


def _counter(model: Path) -> Callable[[str], int]:
    from kit.engines.text.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(model)
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False))


def _show(speeds: Mapping[str, Speed | None], tares: Mapping[str, Timed]) -> None:
    """A row a harness; the ratio is that of the first row's tokens a second to the row's."""
    columns = (
        "harness",
        "tokens",
        "s",
        "CPU s",
        "tokens/s",
        "tokens/CPU s",
        "first is × (wall)",
        "first is × (CPU)",
        "tare s",
    )
    print(f"\n| {' | '.join(columns)} |\n|---|{'---:|' * (len(columns) - 1)}")
    first = next(iter(speeds.values()))
    for name, each in speeds.items():
        if each is None:
            print(f"| {name} | no longer than its tare: ask for more |")
            continue
        wall, cpu = each.num_tokens / each.wall_s, each.num_tokens / each.cpu_s
        ratios = (
            "- | -"
            if first is None
            else f"{first.num_tokens / first.wall_s / wall:.2f} | {first.num_tokens / first.cpu_s / cpu:.2f}"
        )
        figures = f"{each.num_tokens} | {each.wall_s:.1f} | {each.cpu_s:.1f} | {wall:.1f} | {cpu:.1f}"
        print(f"| {name} | {figures} | {ratios} | {tares[name].wall_s:.1f} |")


def _show_equal(runs: Mapping[str, Sequence[Timed]]) -> None:
    first, *_ = runs
    ours = runs[first][0].texts
    for name, of in runs.items():
        equal = sum(a.strip() == b.strip() for a, b in zip(ours, of[0].texts, strict=True))
        print(f"{name}: {equal} of {len(ours)} texts are those of {first}")


if __name__ == "__main__":
    main()
