"""Training the shipped tiny model: a Qwen2 language model of three million parameters.

In: the generated families of `kit.training.tiny.families`, fresh exercises at every step, never one of the
test split. Out: a run folder (tokenizer, checkpoint, log) and, from it, a Hugging Face folder.
The loss is taken on the solution alone, its end-of-turn token included.

A run that was killed resumes from its last checkpoint and ends with the very weights of a run that
was not: the data of a step depend on the seed and the step alone.

    python -m kit.training.tiny.model train --run-dir out/tiny     # Ctrl-C saves; the same line resumes
    python -m kit.training.tiny.model export --run-dir out/tiny
    python -m kit.training.tiny.model evaluate --record benchmarks/results/tiny.json
    python -m kit.training.tiny.model problems

Shapes: R rows of a batch, T tokens of a row, V vocabulary, N = R * T.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch.nn import functional
from transformers import Qwen2Config, Qwen2ForCausalLM

from kit.assets import SAMPLE_PROBLEMS, TINY_MODEL
from kit.errors import InputError
from kit.training import checkpoint
from kit.training.checkpoint import CHECKPOINT
from kit.training.tiny.architecture import export, run_tokenizer, tiny_architecture
from kit.training.tiny.command_line import add_recipe, append_line, asked_to_stop, run_command
from kit.training.tiny.data import Batch, exercises, pack
from kit.training.tiny.evaluation import (
    NUM_SAMPLES,
    SAMPLE_DIFFICULTIES,
    TEMPERATURE,
    Accuracy,
    evaluate,
    markdown,
    measure,
    write_problems,
)
from kit.training.tiny.families import FAMILIES

LOG_EVERY = 50  # steps


@dataclass(frozen=True, slots=True, kw_only=True)
class TinyTraining:
    """The recipe; the defaults are the shipped model's.

    rows, row_tokens: a step's fixed shape; whole exercises are packed into the rows.
    learning_rate: its peak, reached after warmup_steps, then a cosine down to nothing at `steps`.
    bf16: matrix products in bfloat16; weights and optimiser stay float32.
    """

    run_dir: Path
    steps: int = 4300
    rows: int = 16
    row_tokens: int = 256
    learning_rate: float = 2e-3
    warmup_steps: int = 150
    weight_decay: float = 0.05
    save_every: int = 200
    seed: int = 0
    threads: int = 2
    bf16: bool = True

    def __post_init__(self) -> None:
        for name in ("steps", "rows", "row_tokens", "warmup_steps", "save_every", "threads"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, got {getattr(self, name)}")


def train(
    config: TinyTraining,
    *,
    architecture: Qwen2Config | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> int:
    """Train up to `config.steps`, from the run's checkpoint if there is one; returns the step reached.

    architecture: None for the shipped one. should_stop: asked between steps; True saves and ends.
    """
    torch.set_num_threads(config.threads)
    config.run_dir.mkdir(parents=True, exist_ok=True)
    path = config.run_dir / CHECKPOINT
    tokenizer = run_tokenizer(config.run_dir)
    torch.manual_seed(config.seed)
    model = Qwen2ForCausalLM(architecture or tiny_architecture(tokenizer)).train()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.learning_rate, betas=(0.9, 0.95), weight_decay=config.weight_decay
    )
    step, earlier_s = _resume(path, model, optimizer)
    log = config.run_dir / "log.jsonl"
    append_line(log, {"config": _plain(config), "from_step": step, **machine()})

    began = time.monotonic()
    with _progress() as progress:
        task = progress.add_task("training", total=config.steps, completed=step, loss=math.nan)
        while step < config.steps and not should_stop():
            batch = pack(exercises(config.seed, step), tokenizer, rows=config.rows, row_tokens=config.row_tokens)
            loss = _step(model, optimizer, batch, config, learning_rate=learning_rate_at(step, config))
            step += 1
            progress.update(task, completed=step, loss=loss)
            seconds = earlier_s + time.monotonic() - began
            if step % LOG_EVERY == 0:
                append_line(log, {"step": step, "loss": loss, "seconds": round(seconds, 1)})
            if step % config.save_every == 0:
                _save(path, model, optimizer, step=step, seconds=seconds)
    _save(path, model, optimizer, step=step, seconds=earlier_s + time.monotonic() - began)
    return step


def learning_rate_at(step: int, config: TinyTraining) -> float:
    """Linear warm-up to the peak, then half a cosine to zero at the last step."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    progress = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def machine() -> dict[str, str | int]:
    """What ran: versions and hardware, for the head of a record."""
    cpuinfo = Path("/proc/cpuinfo")  # Linux only; platform.processor() is empty there
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
        "cpu": f"{platform.machine()} {names[0] if names else ''}".strip(),
        "cpus": os.cpu_count() or 0,
        "threads": torch.get_num_threads(),
    }


def _step(
    model: Qwen2ForCausalLM,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    config: TinyTraining,
    *,
    learning_rate: float,
) -> float:
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=config.bf16):
        logits_RTV = model(
            input_ids=batch.ids_RT,
            attention_mask=batch.mask_R1TT,
            position_ids=batch.positions_RT,
            use_cache=False,
        ).logits
    losses_N = functional.cross_entropy(logits_RTV.float().flatten(0, 1), batch.targets_RT.flatten(), reduction="none")
    weights_N = batch.weights_RT.flatten()
    loss = (losses_N * weights_N).sum() / weights_N.sum()
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return float(loss.detach())


def _resume(path: Path, model: Qwen2ForCausalLM, optimizer: torch.optim.Optimizer) -> tuple[int, float]:
    if not path.exists():
        return 0, 0.0
    state = checkpoint.load(path)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return state["step"], state["seconds"]


def _save(path: Path, model: Qwen2ForCausalLM, optimizer: torch.optim.Optimizer, *, step: int, seconds: float) -> None:
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step, "seconds": seconds}
    checkpoint.save(path, state)


def _plain(config: TinyTraining) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, Path) else value for name, value in asdict(config).items()}


def _progress() -> Progress:
    return Progress(
        *Progress.get_default_columns()[:2],
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.3f}"),
        TimeRemainingColumn(),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    return run_command(_parser(), arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m kit.training.tiny.model", description="The shipped tiny model.")
    commands = parser.add_subparsers(required=True, metavar="command")

    training = commands.add_parser("train", help="train, or resume training; Ctrl-C saves")
    add_recipe(training, TinyTraining)
    training.set_defaults(run=_run_train)

    exporting = commands.add_parser("export", help="write a run's weights and tokenizer as a Hugging Face folder")
    exporting.add_argument("--run-dir", type=Path, required=True)
    exporting.add_argument("--target", type=Path, default=TINY_MODEL)
    exporting.set_defaults(run=_run_export)

    measuring = commands.add_parser("evaluate", help="accuracy on unseen problems, one sample and majority of 8")
    measuring.add_argument("--model", type=Path, default=TINY_MODEL)
    measuring.add_argument("--run-dir", type=Path, help="the run it came from, for the head of the record")
    measuring.add_argument("--record", type=Path, help="where to write the record (JSON)")
    measuring.add_argument("--num-per-difficulty", type=int, default=10)
    measuring.add_argument("--temperatures", type=float, nargs="+", default=[TEMPERATURE])
    measuring.add_argument("--threads", type=int, default=1)
    measuring.set_defaults(run=_run_evaluate)

    writing = commands.add_parser("problems", help="write the sample problems, or other unseen ones")
    writing.add_argument("--target", type=Path, default=SAMPLE_PROBLEMS)
    writing.add_argument("--num-per-difficulty", type=int, default=1)
    writing.add_argument("--difficulties", type=int, nargs="+", default=SAMPLE_DIFFICULTIES)
    writing.add_argument("--families", nargs="+", default=FAMILIES)
    writing.set_defaults(run=_run_problems)
    return parser


def _run_train(**settings: Any) -> int:
    config = TinyTraining(**settings)
    return 0 if train(config, should_stop=asked_to_stop()) == config.steps else 130


def _run_export(*, run_dir: Path, target: Path) -> int:
    export(run_dir, target)
    return 0


def _run_evaluate(
    *,
    model: Path,
    run_dir: Path | None,
    record: Path | None,
    num_per_difficulty: int,
    temperatures: Sequence[float],
    threads: int,
) -> int:
    torch.set_num_threads(threads)
    measured: dict[str, dict[str, Accuracy]] = {}
    for temperature in temperatures:
        measured[str(temperature)] = evaluate(model, num_per_difficulty=num_per_difficulty, temperature=temperature)
        sys.stdout.write(f"temperature {temperature}\n{markdown(measured[str(temperature)])}\n\n")
        sys.stdout.flush()
    if record:
        entry = {
            "question": "How often does the shipped tiny model solve unseen problems, alone and by majority of 8?",
            "hardware": machine(),
            "training": _log_ends(run_dir) if run_dir else None,
            "model": measure(model),
            "num_samples": NUM_SAMPLES,
            "accuracy_by_temperature": {
                temperature: {name: asdict(accuracy) for name, accuracy in groups.items()}
                for temperature, groups in measured.items()
            },
        }
        record.write_text(json.dumps(entry, indent=1) + "\n", encoding="utf-8")
    return 0


def _run_problems(
    *, target: Path, num_per_difficulty: int, difficulties: Sequence[int], families: Sequence[str]
) -> int:
    write_problems(target, num_per_difficulty=num_per_difficulty, difficulties=difficulties, families=families)
    return 0


def _log_ends(run_dir: Path) -> dict[str, Any]:
    """The configurations a run had (one for each time it was resumed) and its last entry."""
    entries = [json.loads(line) for line in (run_dir / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    return {"starts": [entry for entry in entries if "config" in entry], "end": entries[-1]}


if __name__ == "__main__":
    sys.exit(main())
