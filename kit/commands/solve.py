"""`kit solve`: one problem from the command line, by the very solver of the submission."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from kit.commands.choosing import add_engine, add_model, add_settings, with_server
from kit.commands.progress import harmless
from kit.errors import InputError

if TYPE_CHECKING:
    from kit.solver.journal import Record
    from kit.solver.solution import Solution


def add(commands: Any) -> None:
    """Declare the command."""
    solve = commands.add_parser(
        "solve",
        help="answer one problem, here and now",
        description="Answer one problem by the solver, the budget and the engine of the submission, in five minutes "
        "at most (--set budget.limit_s=S), and print the answer, the votes and why it stopped.",
        epilog="""example: kit solve --model path/to/Qwen2.5-Math-1.5B-Instruct --show 'What is $2^{100}$ modulo 7?'""",
    )
    solve.add_argument("problem", metavar="PROBLEM", help="its text, in LaTeX; - reads it from standard input")
    add_model(solve)
    add_engine(solve)
    add_settings(solve)
    solve.add_argument("--samples", type=int, metavar="N", help="attempts, at most (default: solver.stop.num_samples)")
    solve.add_argument("--show", action="store_true", help="print the attempts as they come, each with its answer")
    solve.set_defaults(run=solve_command, goes_on=False)


def solve_command(args: argparse.Namespace) -> int:
    """`kit solve`: ask, and print what came of it."""
    from kit.engines.hub import find_model
    from kit.recipes.choices import engine_for
    from kit.recipes.one_problem import Question, ask
    from kit.recipes.recipe_file import chosen

    choices = chosen(args.config, args.set)
    model = find_model(args.model)
    question = Question(
        text=_standard_input() if args.problem == "-" else args.problem,
        model=model,
        trm=args.trm,
        adapter=args.adapter,
        engine=engine_for(args.engine, model=model, trm=args.trm, adapter=args.adapter),
        num_samples=args.samples,
        changes=with_server(args, choices.changes),
    )
    if question.is_of_shipped_model and args.engine != "openai":
        _tell("this is the shipped toy model: 3 million parameters, trained on school exercises; it solves no olympiad "
              "problem. Name a real one: --model DIR")  # fmt: skip
    with choices.located():
        solution = ask(question, on_record=_show if args.show else lambda record: None, tell=_tell)
    _print(solution)
    return 0


def _standard_input() -> str:
    try:
        return sys.stdin.buffer.read().decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"standard input is not UTF-8 ({error}); convert it first, as `iconv -t utf-8` does") from None


def _tell(text: str) -> None:
    print(text, file=sys.stderr)


def _show(record: Record) -> None:
    """One attempt that has ended: its text, then its answer."""
    if record["kind"] != "sample":
        return
    answer = "no answer" if record["answer"] is None else f"answer {record['answer']}"
    head = f"--- attempt {record['number'] + 1}: {answer}, {record['num_tokens']} tokens, {record['seconds']:.1f} s, "
    print(harmless(f"{head}{record['finish']} {record['error']}".rstrip()))
    print(harmless(record["text"].strip()), end="\n\n", flush=True)


def _print(solution: Solution) -> None:
    votes = ", ".join(f"{answer} ×{count}" for answer, count in solution.votes)
    print(f"answer:  {solution.answer}" + (f" (a guess: {solution.guess})" if solution.guess else ""))
    print(f"votes:   {votes or 'none'}, of {solution.num_samples} attempts")
    print(f"stopped: {solution.reason.value}, after {solution.seconds:.1f} s and {solution.num_tokens} tokens")
