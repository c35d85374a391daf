"""`kit`: the command line. A KitError becomes one line, not a traceback.

Heavy modules are imported by the command that needs them, so that `kit --help` answers at once.
"""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
from collections.abc import Sequence

from kit import __version__
from kit.commands import (
    build,
    completion,
    doctor,
    dry_run,
    push,
    settings,
    simulate,
    solve,
    submit,
    train,
    upload,
    verify,
    wheels,
)
from kit.errors import KitError

_COMMANDS = (solve, dry_run, build, wheels, verify, upload, push, submit, train, simulate, doctor, settings, completion)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns the exit status: 0 well, 1 a fault that was explained, 130 interrupted, 141 nobody reads.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without Unicode shows `?`, not a traceback
    args = _parser().parse_args(argv)
    try:
        status: int = args.run(args)
        sys.stdout.flush()
    except BrokenPipeError:
        # whoever read us has seen enough, as in `kit settings | head`; Python's flush at exit must not tell it again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except KitError as error:
        print(f"kit: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        what_next = "; the same command goes on where it was" if getattr(args, "goes_on", True) else ""
        print(f"\nkit: interrupted{what_next}", file=sys.stderr)
        return 130
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kit",
        description="From a laptop to a Kaggle submission that runs offline.",
        epilog="Begin with `kit solve 'Compute $6 + 7$.'` and `kit dry-run`. Single quotes, or the shell takes $6 for "
        "its own. Completion of options: `kit completion bash`.",
    )
    parser.add_argument("--version", action="version", version=f"kit {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in _COMMANDS:
        command.add(commands)
    parser.set_defaults(parser=parser)  # for the command that describes all of them to a shell
    return parser


if __name__ == "__main__":
    sys.exit(main())
