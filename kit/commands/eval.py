"""`kit eval`: how good a model is on a set of problems; `kit eval merge`: one run out of its shards."""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.commands.choosing import add_server, server_of
from kit.commands.endings import end_as_by_ctrl_c
from kit.commands.progress import Shown, score_bar
from kit.errors import InputError
from kit.evaluation.opening import ENGINES, FoundModel, ModelChoice, fitting_batch_size, found_model, open_found

if TYPE_CHECKING:
    from kit.evaluation.cluster import Cluster
    from kit.evaluation.plan import EvalPlan
    from kit.evaluation.records import Completion, EvalRun
    from kit.evaluation.run import Listener
    from kit.evaluation.score import RunningScore
    from kit.evaluation.tracking import Track, Tracker
    from kit.sampling import SamplingParams

_STYLES = ("boxed", "lm-eval")
_TRACKERS = ("tensorboard", "wandb", "trackio")


def add(commands: Any) -> None:
    """Declare the command."""
    evaluate = commands.add_parser(
        "eval",
        help="say how good a model is on a set of problems",
        description="Draw samples for every problem of a set, grade each strictly (boxed or stated) and leniently "
        "(else the last integer), and write figures with 95 % intervals and a report with every completion. Killed "
        "and started again, it goes on where it was.",
        epilog="example: kit eval --model path/to/model --data gsm8k --limit 200 --out out/eval/gsm8k. One run out of "
        "its shards: kit eval merge OUT SHARD...",
    )
    _add_model(evaluate)
    _add_data(evaluate)
    _add_sampling(evaluate)
    _add_output(evaluate)
    _add_scale(evaluate)
    evaluate.set_defaults(run=eval_command)
    actions = evaluate.add_subparsers(title="actions", required=False, metavar="ACTION")
    merge = actions.add_parser("merge", help="make one run out of its shards")
    merge.add_argument("merged", type=Path, metavar="OUT", help="the folder of the whole run; it must not hold one yet")
    merge.add_argument("shards", type=Path, nargs="+", metavar="SHARD", help="folders that `kit eval --shard` wrote")
    merge.set_defaults(run=merge_command)


def _add_model(evaluate: argparse.ArgumentParser) -> None:
    evaluate.add_argument(
        "--model", metavar="DIR|HUB_ID",
        help="a Hugging Face causal LM: its folder, or its id on the hub (default: the TRM's backbone, the server's "
        "own model with --url, or the shipped tiny one)",
    )  # fmt: skip
    evaluate.add_argument("--trm", type=Path, metavar="DIR", help="a recursive model (TRM) for this very model")
    evaluate.add_argument(
        "--adapter", type=Path, metavar="DIR", help="a LoRA adapter of this very model, as peft saves it"
    )
    evaluate.add_argument(
        "--engine", metavar="ENGINE",
        help=f"{', '.join(ENGINES)}, or openai: a server at --url, which serves --model if that is given; its "
        "address says the same "
        "(default: trm with --trm, else transformers)",
    )  # fmt: skip
    add_server(evaluate)
    evaluate.add_argument(
        "--set", action="append", default=[], metavar="engine.NAME=VALUE",
        help="a setting of the engine (`kit settings`), such as engine.dtype=float32; may be given again",
    )  # fmt: skip


def _add_data(evaluate: argparse.ArgumentParser) -> None:
    evaluate.add_argument(
        "--data", metavar="NAME|PATH", help="gsm8k, math, math500, numina, aime, a set of the hub, a file or a folder"
    )
    evaluate.add_argument("--split", choices=("test", "train"), default="test", help="(default: %(default)s)")
    evaluate.add_argument("--limit", type=int, metavar="N", help="only the first N problems")
    evaluate.add_argument(
        "--prompt", choices=_STYLES, default=_STYLES[0],
        help="boxed: by the chat template, the answer asked for in a box; lm-eval: lm-evaluation-harness's own text "
        "(default: %(default)s)",
    )  # fmt: skip
    evaluate.add_argument(
        "--num-shots", type=int, default=0, metavar="N",
        help="worked examples before each problem, the first of the train split (default: %(default)s)",
    )  # fmt: skip


def _add_sampling(evaluate: argparse.ArgumentParser) -> None:
    evaluate.add_argument(
        "--num-samples", type=int, default=1, metavar="N", help="samples a problem and depth (default: %(default)s)"
    )
    evaluate.add_argument("--depth", metavar="T,T...", help="depths of recursion to sweep, such as 3,5,10")
    evaluate.add_argument(
        "--batch-size", type=int, metavar="N",
        help="samples at once (default: 16; on a CPU as many as its memory holds, 64 at most)",
    )  # fmt: skip
    evaluate.add_argument("--max-new-tokens", type=int, default=1024, metavar="N", help="(default: %(default)s)")
    evaluate.add_argument(
        "--temperature", type=float, metavar="X", help="(default: 0, or 0.8 for several samples a problem)"
    )
    evaluate.add_argument("--top-p", type=float, default=1.0, metavar="P", help="(default: %(default)s)")
    evaluate.add_argument("--seed", type=int, default=0, metavar="S", help="(default: %(default)s)")


def _add_output(evaluate: argparse.ArgumentParser) -> None:
    evaluate.add_argument("--out", type=Path, metavar="DIR", help="where the run is kept (default: out/eval/DATA)")
    evaluate.add_argument(
        "--token-stats", action="store_true",
        help="keep log-probability, entropy and confidence of each token in the journal, to measure weighings of votes",
    )  # fmt: skip
    evaluate.add_argument("-v", "--verbose", action="store_true", help="print each completion as it ends")
    evaluate.add_argument("--wrong-only", action="store_true", help="of those, only the wrong ones")
    evaluate.add_argument(
        "--track", choices=_TRACKERS, help="also send the running figures there; they are in DIR/figures.jsonl always"
    )


def _add_scale(evaluate: argparse.ArgumentParser) -> None:
    evaluate.add_argument("--shard", metavar="I/N", help="only every Nth problem, beginning with number I")
    evaluate.add_argument(
        "--ray", metavar="ADDRESS", help="draw on a Ray cluster, each worker with an engine; `local` starts one here"
    )
    evaluate.add_argument("--workers", type=int, default=2, metavar="N", help="engines on that cluster (default: 2)")


def eval_command(args: argparse.Namespace) -> int:
    """`kit eval`: draw, grade, and say what came of it."""
    end_as_by_ctrl_c()
    from kit.data.offline import forbid_telemetry
    from kit.evaluation.cluster import Cluster
    from kit.evaluation.reading import read_run
    from kit.evaluation.score import RunningScore

    forbid_telemetry()
    plan = asked_plan(args)
    found = found_model(_choice(args), plan)
    out = args.out or Path("out/eval") / plan.data.label.replace("/", "-")
    score = RunningScore(total=plan.num_cells)
    shown = Shown.WRONG if args.wrong_only else Shown.ALL if args.verbose else Shown.NONE
    cluster = None if args.ray is None else Cluster(address=args.ray, num_workers=args.workers)
    if args.batch_size is None and cluster is None:  # a cluster's workers may share a machine
        plan = dataclasses.replace(plan, batch_size=fitting_batch_size(found, plan))
    try:
        run = drawn(plan, found, score, out=out, shown=shown, tracker=args.track, cluster=cluster)
    except KeyboardInterrupt:
        if score.begun_s is not None:  # else the folder may hold another run, or none
            _report(read_run(out), out)
        raise
    return _report(run, out)


def drawn(
    plan: EvalPlan,
    found: FoundModel,
    score: RunningScore,
    *,
    out: Path,
    shown: Shown = Shown.NONE,
    tracker: Tracker | None = None,
    cluster: Cluster | None = None,
) -> EvalRun:
    """The run in `out`, drawn to its end under a progress bar. score: counts along.

    Raises: as `kit.evaluation.run.evaluate` and `open_found`.
    """
    from kit.checkout import commit
    from kit.evaluation.cluster import evaluate_on_cluster
    from kit.evaluation.head import make_head, session_facts
    from kit.evaluation.run import evaluate_here
    from kit.evaluation.tracking import tracked

    head, session = make_head(found.model, plan), session_facts(found.model, commit=commit())
    opener = partial(open_found, found, batch_size=plan.batch_size)
    with tracked(tracker, out, {**head, **session}) as track, score_bar(score, shown) as show:
        kept: dict[str, Any] = {"head": head, "session": session, "out": out, "listener": _listener(score, track, show)}
        if cluster is not None:
            return evaluate_on_cluster(cluster, plan, opener, **kept)
        return evaluate_here(plan, opener, **kept)


def _choice(args: argparse.Namespace) -> ModelChoice:
    server = server_of(args, uses_model=True)
    return ModelChoice(
        model=args.model,
        trm=args.trm,
        adapter=args.adapter,
        engine=server.base if args.engine == "openai" else args.engine,
        server=server,
        settings=tuple(args.set),
    )


def _listener(score: RunningScore, track: Track, show: Callable[[Completion], None]) -> Listener:
    from kit.evaluation.run import Listener

    def on_resumed(completions: Collection[Completion]) -> None:
        score.resume(completions, begun_s=time.monotonic())

    def on_completion(completion: Completion) -> None:
        score.add(completion)
        track(score.values(time.monotonic()), score.num_done)
        show(completion)

    return Listener(on_resumed=on_resumed, on_completion=on_completion)


def asked_plan(args: argparse.Namespace) -> EvalPlan:
    """What the options ask to be drawn.

    Raises: InputError for a value that is refused; MissingError for data that is not there.
    """
    from kit.data.sets import load
    from kit.evaluation.plan import EvalPlan, Shard
    from kit.evaluation.prompts import PromptStyle
    from kit.evaluation.run import check_askable

    if args.data is None:
        raise InputError("no data; give --data gsm8k, a set of the hub, or a file")
    if args.num_shots < 0:
        raise InputError(f"--num-shots must be >= 0, got {args.num_shots}")
    sampling = _sampling(args)
    shard, depths = None if args.shard is None else Shard.parse(args.shard), _depths(args.depth)
    data = load(args.data, split=args.split, limit=args.limit)
    shots = load(args.data, split="train", limit=args.num_shots).examples if args.num_shots else ()
    if len(shots) < args.num_shots:
        raise InputError(f"--num-shots {args.num_shots}, but {args.data} has {len(shots)} training problems to show")
    plan = EvalPlan(
        data=data,
        style=PromptStyle(args.prompt),
        shots=shots,
        sampling=sampling,
        depths=depths,
        num_samples=args.num_samples,
        seed=args.seed,
        keeps_token_stats=args.token_stats,
        shard=shard,
    )
    check_askable(plan)
    return plan if args.batch_size is None else dataclasses.replace(plan, batch_size=args.batch_size)


def _sampling(args: argparse.Namespace) -> SamplingParams:
    from kit.evaluation.plan import greedy_or_varied
    from kit.sampling import SamplingParams

    temperature = greedy_or_varied(args.num_samples) if args.temperature is None else args.temperature
    return SamplingParams(temperature=temperature, top_p=args.top_p, max_new_tokens=args.max_new_tokens)


def _depths(text: str | None) -> tuple[int | None, ...]:
    if text is None:
        return (None,)
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise InputError(f"--depth {text}: expected depths with commas between them, such as 3,5,10")
    return tuple(int(part) for part in parts)


def _report(run: EvalRun, out: Path) -> int:
    """Write the report and print the table; a run without any completion has neither."""
    from rich.console import Console

    from kit.evaluation.reading import JOURNAL_NAME
    from kit.evaluation.table import as_table, notes

    console = Console(width=None if Console().is_terminal else 120)
    lines = [*notes(run), f"journal: {out / JOURNAL_NAME}"]
    if run.completions:
        from kit.evaluation.report.contents import NamedRun
        from kit.evaluation.report.page import write_report

        page, *_ = write_report([NamedRun(out.resolve().name, run)], out)
        console.print(as_table(run))
        lines.append(f"report:  {page}")
    for line in lines:
        console.print(line, soft_wrap=True, markup=False, highlight=False)
    return 0


def merge_command(args: argparse.Namespace) -> int:
    """`kit eval merge`: one run out of its shards."""
    from kit.evaluation.merging import merge

    merged = merge(args.merged, args.shards)
    for line in merged.missing:
        print(f"missing: {line}")
    return _report(merged.run, args.merged)
