"""`kit train distill`: sample a model on training problems and keep its right solutions, as data for `kit train`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from kit.commands.endings import end_as_by_ctrl_c
from kit.commands.eval import drawn
from kit.errors import InputError
from kit.evaluation.opening import ENGINES, ModelChoice, found_model

_OUT = Path("out/distilled")
_GRADES = ("lenient", "strict")


def add(methods: Any) -> None:
    """Declare it among the methods of `kit train`."""
    distill = methods.add_parser(
        "distill",
        help="data for them: the right ones among a model's own samples",
        description="Sample a model on the problems of a training set, grade each sample, and write the right "
        "solutions, as many a problem as --keep says, as DIR/train.jsonl: what `kit train METHOD --dataset DIR` "
        "takes. Killed and started again, it goes on where it was.",
        epilog="example: kit train distill --model path/to/model --dataset gsm8k --num_samples 500 --output_dir own",
    )
    distill.add_argument("--model", metavar="DIR|HUB_ID", help="whose samples (default: the shipped tiny model)")
    distill.add_argument("--adapter", type=Path, metavar="DIR", help="a LoRA adapter of this very model")
    distill.add_argument("--engine", metavar="ENGINE", help=f"as `kit eval` takes it: {', '.join(ENGINES)}, an address")
    distill.add_argument(
        "--set", action="append", default=[], metavar="engine.NAME=VALUE", help="a setting of the engine"
    )
    distill.add_argument("--dataset", default="gsm8k", metavar="NAME", help="as the methods take it (gsm8k)")
    distill.add_argument("--num_samples", type=int, metavar="N", help="so many problems, drawn by the seed (all)")
    distill.add_argument("--attempts", type=int, default=4, metavar="N", help="samples a problem (%(default)s)")
    distill.add_argument("--keep", type=int, default=4, metavar="N", help="different ones kept, at most (%(default)s)")
    distill.add_argument(
        "--grade", choices=_GRADES, default=_GRADES[0],
        help="strict: the answer was boxed or stated; lenient: else the last integer counts (%(default)s)",
    )  # fmt: skip
    distill.add_argument("--temperature", type=float, default=0.8, metavar="X", help="(%(default)s)")
    distill.add_argument("--top_p", type=float, default=1.0, metavar="P", help="(%(default)s)")
    distill.add_argument("--max_new_tokens", type=int, default=512, metavar="N", help="(%(default)s)")
    distill.add_argument("--batch_size", type=int, default=16, metavar="N", help="samples at once (%(default)s)")
    distill.add_argument("--seed", type=int, default=0, metavar="S", help="(%(default)s)")
    distill.add_argument("--output_dir", type=Path, default=_OUT, metavar="DIR", help="(%(default)s)")
    distill.set_defaults(run=distill_command)


def distill_command(args: argparse.Namespace) -> int:
    """`kit train distill`: draw what is missing, and write the right solutions."""
    end_as_by_ctrl_c()
    from kit.data.offline import forbid_telemetry
    from kit.data.sets import load
    from kit.evaluation.distillation import write_distilled
    from kit.evaluation.metrics import Grading
    from kit.evaluation.plan import EvalPlan
    from kit.evaluation.score import RunningScore
    from kit.sampling import SamplingParams

    forbid_telemetry()
    if args.keep < 1:
        raise InputError(f"--keep must be >= 1, got {args.keep}")
    plan = EvalPlan(
        data=load(args.dataset, split="train", limit=args.num_samples, seed=args.seed),
        sampling=SamplingParams(temperature=args.temperature, top_p=args.top_p, max_new_tokens=args.max_new_tokens),
        num_samples=args.attempts,
        batch_size=args.batch_size,
        seed=args.seed,
    )
    choice = ModelChoice(model=args.model, adapter=args.adapter, engine=args.engine, settings=tuple(args.set))
    run = drawn(plan, found_model(choice, plan), RunningScore(total=plan.num_cells), out=args.output_dir)
    made = write_distilled(run, args.output_dir, keep=args.keep, grading=Grading(args.grade))
    print(f"right:  {made.num_right:,} of {made.num_samples:,} samples")
    print(f"kept:   {made.num_rows:,} solutions of {made.num_problems:,} of {made.num_asked:,} problems: {made.path}")
    print(f"next:   kit train lora --dataset {args.output_dir}")
    return 0
