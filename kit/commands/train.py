"""`kit train trm | finetune | lora`: train on a data set, resumably; `kit train distill`: make one of right samples."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.commands import distill
from kit.commands.endings import end_as_by_ctrl_c
from kit.commands.progress import training_bar

if TYPE_CHECKING:
    from kit.training.run import Watchers

_EXAMPLES = """\
examples:
  kit train trm --dataset gsm8k --num_samples 200 --epochs 1 --N_supervision 4 --output_dir out/trm
  kit train trm --dataset path/steps.jsonl --answers at_once --T_spread curriculum --T_recursion 6 --N_supervision 1
  kit train finetune --model models/SmolLM2-135M-Instruct --dataset path/train.jsonl --n_layers 1 --output_dir out/ft
  kit train lora --model models/SmolLM2-135M-Instruct --dataset math --rank 64 --output_dir out/lora

Ctrl-C saves; `kit train METHOD --resume DIR` goes on, with a lower --lr or, where memory ran out, with a smaller
--batch_size and as much more --gradient_accumulation, if that is asked for. Several processes:
  torchrun --standalone --nproc-per-node 2 -m kit.cli train trm --dataset gsm8k --output_dir out/trm
"""

_METHODS = {
    "trm": "a Tiny Recursive Model on the frozen backbone",
    "finetune": "the backbone's last layers",
    "lora": "low-rank adapters of the linear layers (peft)",
}


def add(commands: Any) -> None:
    """Declare the command, its three methods, and what makes data for them."""
    train = commands.add_parser(
        "train",
        help="train a recursion, a fine-tune or a LoRA on worked solutions",
        description="Train on the worked solutions of a data set: its loss is on the answer alone. Everything is "
        "resumable, and the result is in the format that the field loads.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    methods = train.add_subparsers(title="methods", required=True, metavar="METHOD", dest="method")
    for name, told in _METHODS.items():
        method = methods.add_parser(name, help=told, description=told, argument_default=argparse.SUPPRESS)
        _add_common(method)
        _ADD_OWN[name](method)
        method.set_defaults(run=train_command)
    distill.add(methods)


def _add_common(method: argparse.ArgumentParser) -> None:
    method.add_argument("--output_dir", type=Path, metavar="DIR", help="of the run (default: out/train/METHOD)")
    method.add_argument("--resume", type=Path, metavar="DIR", help="go on with that run, in its folder unless told")
    method.add_argument("--model", type=Path, metavar="DIR", help="the backbone (default: the shipped tiny model)")
    method.add_argument("--dataset", metavar="NAME", help="gsm8k, numina, math, a file, or a set of the hub (gsm8k)")
    method.add_argument("--num_samples", type=int, metavar="N", help="so many examples, drawn by the seed (all)")
    method.add_argument("--answers", choices=("worked", "at_once"), help="solutions, or boxed answers alone (worked)")
    method.add_argument("--epochs", type=int, metavar="N", help="(1)")
    method.add_argument("--batch_size", type=int, metavar="N", help="rows of a batch, over all processes (8)")
    method.add_argument("--gradient_accumulation", type=int, metavar="N", help="batches of an update, by length (1)")
    method.add_argument("--lr", type=float, metavar="X", help="peak learning rate (trm, lora: 1e-4; finetune: 1e-5)")
    method.add_argument("--warmup", type=int, metavar="N", help="updates until the peak (50)")
    method.add_argument("--weight_decay", type=float, metavar="X", help="(0.1)")
    method.add_argument("--max_length", type=int, metavar="N", help="tokens; longer examples are left out (512)")
    method.add_argument("--ema", type=float, metavar="X", help="decay of the weights' moving average (0.999)")
    method.add_argument("--seed", type=int, metavar="S", help="(0)")
    method.add_argument(
        "--bf16", action="store_true", help="products, frozen weights in bfloat16; trained ones float32"
    )
    method.add_argument("--device", choices=("auto", "cpu", "cuda"), help="(auto)")
    method.add_argument(
        "--save_every", type=int, metavar="N", help="groups of batches between checkpoints, or ten minutes (50)"
    )
    method.add_argument(
        "--cache_dir", type=Path, metavar="DIR", help="of rows and hidden states, which runs share (out/cache/training)"
    )


def _add_trm(method: argparse.ArgumentParser) -> None:
    method.add_argument("--N_supervision", type=int, metavar="N", help="updates a batch, N_sup of the paper (16)")
    method.add_argument("--T_recursion", type=int, metavar="T", help="deep recursions an update, on average (3)")
    method.add_argument(
        "--T_spread",
        choices=("random", "curriculum", "fixed"),
        help="T uniform on 1…2T-1; from 1 up to T as steps are learned, where examples tell them; always T (random)",
    )
    method.add_argument("--num_latent", type=int, metavar="N", help="latent updates a recursion, n of the paper (6)")
    method.add_argument("--form", choices=("anchor", "states", "token"), help="what the recursion reads (anchor)")
    method.add_argument("--feature_layers", type=int, nargs="+", metavar="L", help="hidden states that make x (-1)")
    method.add_argument(
        "--whiten", action=argparse.BooleanOptionalAction, help="hidden states, before they make x (whitened)"
    )
    method.add_argument("--with_grad", type=int, metavar="N", help="the last recursions with a gradient (all)")
    method.add_argument("--kl", type=float, metavar="X", help="share of the KL to the backbone where it is right (0.1)")
    method.add_argument("--halting", type=float, metavar="X", help="share of the halting loss (0.5)")
    method.add_argument(
        "--freeze_lm_head", action=argparse.BooleanOptionalAction, help="always so: a TRM is saved without it"
    )


def _add_finetune(method: argparse.ArgumentParser) -> None:
    method.add_argument("--n_layers", type=int, metavar="N", help="the backbone's last so many (1)")
    method.add_argument("--freeze_lm_head", action=argparse.BooleanOptionalAction, help="(frozen)")


def _add_lora(method: argparse.ArgumentParser) -> None:
    method.add_argument("--rank", type=int, metavar="R", help="(64)")
    method.add_argument("--lora_layers", type=int, metavar="N", help="only in the backbone's last so many (all)")


_ADD_OWN = {"trm": _add_trm, "finetune": _add_finetune, "lora": _add_lora}


def train_command(args: argparse.Namespace) -> int:
    """`kit train`: 0 when whole, 130 when it was interrupted and saved."""
    from kit.data.offline import forbid_telemetry

    forbid_telemetry()  # before any of the libraries is imported
    end_as_by_ctrl_c()
    from kit.training.run import CACHE, train
    from kit.training.settings import SETTINGS, settings_of

    resume: Path | None = getattr(args, "resume", None)
    settings = settings_of(args.method, vars(args), resume=resume)
    goes_on = f"go on with: kit train {settings.method} --resume {settings.output_dir}"
    try:
        with _watched() as watchers:
            cache = getattr(args, "cache_dir", CACHE)
            trained = train(settings, resume_from=resume, cache=cache, watchers=watchers)
    except KeyboardInterrupt:
        if not (settings.output_dir / SETTINGS).exists():
            raise
        print(f"\ninterrupted; {goes_on}", file=sys.stderr)
        return 130
    if trained.writes:
        if trained.is_whole:
            print(f"{trained.num_parameters:,} parameters trained on {trained.num_rows:,} examples: {trained.result}")
        else:
            print(f"stopped and saved; {goes_on}")
        if trained.curves is not None:
            print(f"curves: {trained.curves}")
    return 0 if trained.is_whole else 130


@contextmanager
def _watched() -> Iterator[Watchers]:
    """A progress bar, and Ctrl-C as a wish to stop after the group under way."""
    from kit.training.run import Watchers

    stop = threading.Event()

    def interrupt(*_: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt  # asked a second time: at once, from the last checkpoint on
        stop.set()
        # not print: a signal may come while another line is being written
        os.write(2, b"\nstopping after the batch under way, then saving; a second time stops at once, without\n")

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        with training_bar() as (on_states, on_update):
            yield Watchers(states=on_states, update=on_update, should_stop=stop.is_set)
    finally:
        signal.signal(signal.SIGINT, before)
