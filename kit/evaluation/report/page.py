"""Puts the page together and writes it: frame, style, scripts, figures, and the completions as JSON.

The content security policy names the style and the two scripts by their hashes; nothing else runs, and nothing loads.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template

from kit import __version__
from kit.assets import REPORT_PAGE, TEMML
from kit.errors import InputError
from kit.evaluation.markdown import REPORT_NAME, markdown
from kit.evaluation.report.contents import Contents, NamedRun, as_json, contents_of, merged
from kit.evaluation.report.dry_run import JournalledRun, contents_of_journal
from kit.evaluation.report.escaping import shown
from kit.evaluation.report.sections import evaluation_sections, journal_sections
from kit.evaluation.results import RESULTS_NAME, summary, write_results, write_text

PAGE_NAME = "report.html"


def write_report(runs: Sequence[NamedRun], folder: Path) -> tuple[Path, ...]:
    """Write the page and `report.md` over one or several evaluations; of a single one `results.json` and samples too.

    Returns the files for a reader.
    Raises: InputError for a run without a completion; StorageError if a file cannot be written.
    """
    page, text = folder / PAGE_NAME, folder / REPORT_NAME
    write_page(runs, page)
    write_text(text, markdown([summary(named.run) for named in runs]))
    if len(runs) > 1:
        return page, text
    write_results(runs[0].run, folder)
    return page, text, folder / RESULTS_NAME


def write_dry_run_report(runs: Sequence[JournalledRun], gold: Mapping[str, int], folder: Path) -> tuple[Path, ...]:
    """Write the page of one or several dry runs. Raises: StorageError if it cannot be written."""
    page = folder / PAGE_NAME
    write_text(page, dry_run_page(runs, gold))
    return (page,)


def write_page(runs: Sequence[NamedRun], path: Path) -> None:
    """Write the page of one or several evaluations.

    Raises: InputError for a run without a completion; StorageError if the page cannot be written.
    """
    write_text(path, evaluation_page(runs))


def evaluation_page(runs: Sequence[NamedRun]) -> str:
    """The page of one or several evaluations, whole or not. Raises: InputError for a run without a completion."""
    for named in runs:
        if not named.run.completions:
            raise InputError(f"{named.name}: holds no completion yet; let the evaluation go on, or give another run")
    results = [summary(named.run) for named in runs]
    title = "Evaluation of " + ", ".join(dict.fromkeys(result.description.model for result in results))
    return _page(title, evaluation_sections(runs, results), contents_of(runs))


def dry_run_page(runs: Sequence[JournalledRun], gold: Mapping[str, int]) -> str:
    """The page of one or several dry runs. gold: right answers by problem id, where they are known."""
    title = "Dry run " + ", ".join(run.name for run in runs)
    contents = merged([contents_of_journal(run, gold) for run in runs])
    return _page(title, journal_sections(runs, dict(gold)), contents)


def _page(title: str, sections: str, contents: Contents) -> str:
    style = _read(TEMML / "temml.css") + _read(REPORT_PAGE / "report.css")
    temml = f"/*\n{_read(TEMML / 'LICENSE')}*/\n{_read(TEMML / 'temml.min.js')}"
    script = _read(REPORT_PAGE / "report.js")
    policy = (
        f"default-src 'none'; script-src {_hash(temml)} {_hash(script)}; style-src {_hash(style)}; "
        "img-src data:; base-uri 'none'; form-action 'none'"  # data: the masks in Temml's style
    )
    return Template(_read(REPORT_PAGE / "page.html")).substitute(
        title=shown(title),
        policy=policy,
        style=style,
        sections=sections,
        contents=as_json(contents),
        temml=temml,
        script=script,
        version=__version__,
    )


def _read(path: Path) -> str:
    """An asset that stands in an element of its own: its end tag must not be in it."""
    text = path.read_text(encoding="utf-8")
    assert "</script" not in text.lower() or path.suffix == ".html", path
    assert "</style" not in text.lower() or path.suffix == ".html", path
    return text


def _hash(text: str) -> str:
    """A source of the policy that allows exactly this inline element."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
