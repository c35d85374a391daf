"""What a check says: findings, each with the file to blame and the fix, to be printed, or raised the first of them."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, replace
from enum import Enum

from kit.errors import InputError, KitError


class Severity(Enum):
    """An error fails a check; a warning is worth knowing."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something wrong. file: what to blame; a file, or a part of the machine such as `GPU`. kind: the error it is."""

    severity: Severity
    file: str
    problem: str
    fix: str
    kind: type[KitError] = InputError

    @classmethod
    def of(cls, error: KitError, *, file: str, fix: str) -> Finding:
        """An error that another part of the kit raised; `fix` if its text has none of its own after a `;`."""
        text = str(error).removeprefix(f"{file}: ")
        problem, _, own_fix = text.partition("; ")
        return cls(severity=Severity.ERROR, file=file, problem=problem, fix=own_fix or fix)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at. detail: what was seen; no findings: all is well."""

    name: str
    detail: str
    findings: tuple[Finding, ...] = ()

    @property
    def is_passed(self) -> bool:
        """Whether there is no error; warnings do not fail."""
        return all(finding.severity is not Severity.ERROR for finding in self.findings)


def error(file: object, problem: str, fix: str, *, kind: type[KitError] = InputError) -> Finding:
    """A finding that fails its check."""
    return Finding(severity=Severity.ERROR, file=str(file), problem=problem, fix=fix, kind=kind)


def warning(file: object, problem: str, fix: str) -> Finding:
    """A finding that does not."""
    return Finding(severity=Severity.WARNING, file=str(file), problem=problem, fix=fix)


def raise_first(findings: Generator[Finding, None, None]) -> None:
    """Raise the first error; what would have been looked at after it is not."""
    with closing(findings):
        for each in findings:
            if each.severity is Severity.ERROR:
                raise each.kind(f"{each.file}: {each.problem}; {each.fix}")


def lowered(check: Check) -> Check:
    """The check with every error as a warning."""
    return replace(check, findings=tuple(replace(each, severity=Severity.WARNING) for each in check.findings))
