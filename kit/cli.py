"""`kit`: the command line. A KitError becomes one line, not a traceback.

Heavy modules are imported by the command that needs them, so that `kit --help` answers at once. All else is imported
where an interrupt is understood, for that takes most of the first third of a second.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Collection, Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns the exit status: 0 well, 1 a fault that was explained, 130 interrupted, 141 nobody reads.
    """
    try:
        return _run(argv)
    except KeyboardInterrupt:  # before a command had begun
        print("\nkit: interrupted", file=sys.stderr)
        return 130


def _run(argv: Sequence[str] | None) -> int:
    import argparse
    import io
    import os
    import signal

    from kit.errors import KitError

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without Unicode shows `?`, not a traceback
    argv = sys.argv[1:] if argv is None else argv
    args = argparse.Namespace(goes_on=False)
    try:
        parser = _parser()
        _check_command(argv, parser.get_default("names"))
        args = parser.parse_args(argv)
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


def _check_command(argv: Sequence[str], names: Collection[str]) -> None:
    """Raise InputError for a command that is nearly one; what is none at all argparse tells."""
    from kit.errors import InputError, did_you_mean

    if argv and argv[0] not in names and (question := did_you_mean(argv[0], names)):
        raise InputError(f"there is no command {argv[0]!r}; {question}")


def _parser() -> argparse.ArgumentParser:
    import argparse

    from kit import __version__
    from kit.commands import (
        build,
        compare,
        completion,
        doctor,
        dry_run,
        eval,  # noqa: A004  # the command's name
        notebook,
        push,
        push_wheels,
        report,
        settings,
        ship,
        simulate,
        solve,
        status,
        submit,
        train,
        upload,
        verify,
        wheels,
    )

    parser = argparse.ArgumentParser(
        prog="kit",
        description="From a laptop to a Kaggle submission that runs offline.",
        epilog="Begin with `kit solve 'Compute $6 + 7$.'` and `kit dry-run`. Single quotes, or the shell takes $6 for "
        "its own. Completion of options: `kit completion bash`.",
    )
    parser.add_argument("--version", action="version", version=f"kit {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in (
        *(solve, train, eval, compare, report, dry_run, build, notebook, wheels, verify, upload, push, push_wheels),
        *(status, submit, ship, simulate, doctor, settings, completion),
    ):  # fmt: skip
        command.add(commands)
    # parser: for the command that describes all of them to a shell
    parser.set_defaults(parser=parser, names=tuple(commands.choices))
    return parser


if __name__ == "__main__":
    sys.exit(main())
