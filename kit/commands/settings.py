"""`kit settings`: what --set takes."""

from __future__ import annotations

import argparse
from typing import Any


def add(commands: Any) -> None:
    """Declare the command."""
    settings = commands.add_parser("settings", help="list what --set takes, with the defaults")
    settings.set_defaults(run=settings_command)


def settings_command(args: argparse.Namespace) -> int:
    """`kit settings`: every setting by the name that --set takes, with a submission's and a dry run's value."""
    from kit.config import described, replaced
    from kit.kaggle.dry_run.run import SQUEEZED
    from kit.kaggle.notebook.submission import Settings

    submission, dry_run = Settings(), replaced(Settings(), SQUEEZED)
    for line, squeezed in zip(described(submission), described(dry_run), strict=True):
        print(line if line == squeezed else f"{line:<44} (dry run: {squeezed.partition('=')[2]})")
    return 0
