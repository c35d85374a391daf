"""Checks on the terminal: a table of what was looked at, then what is wrong and how it is fixed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kit.kaggle.findings import Check


def print_checks(title: str, checks: Sequence[Check]) -> int:
    """Print them; returns the exit status: 1 if any failed."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    table = Table(title=escape(title), title_justify="left")
    for heading in ("check", "", "what was seen"):  # a path that is wider than a narrow terminal is folded, not cut
        table.add_column(heading, overflow="fold")
    for check in checks:
        verdict = "[red]FAILED" if not check.is_passed else "[yellow]warning" if check.findings else "[green]ok"
        table.add_row(check.name, verdict, escape(check.detail))
    console.print(table)
    for check in checks:
        for finding in check.findings:
            text = f"{finding.severity.value}: {finding.file}: {finding.problem}\n  fix: {finding.fix}"
            console.print(text, markup=False, highlight=False, soft_wrap=True)
    return 0 if all(check.is_passed for check in checks) else 1
