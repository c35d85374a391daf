"""Draw the README's two pictures, docs/dry-run.svg and docs/timeline.png, from the latest dry run in a folder.

python docs/pictures.py out/pictures

`make pictures` makes such a run first: the shipped model on the sample problems.
"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

from kit.assets import SAMPLE_PROBLEMS
from kit.kaggle.dry_run.report import Report, as_table, make_report
from kit.plots.timeline import read_timeline
from kit.plots.timeline_picture import draw_timeline
from kit.problem import read_gold, read_problems
from kit.solver.journal import read_records

DOCS = Path(__file__).parent
NUM_COLUMNS = 120  # as `kit dry-run` prints where its output is no terminal


def main() -> None:
    """Draw both pictures from the latest run in the folder that the command line names."""
    draw(max(Path(sys.argv[1]).glob("run-*")) / "kaggle" / "working", DOCS)


def draw(working: Path, folder: Path) -> None:
    """Draw what the run whose results lie in `working` printed, and its timeline, into `folder`."""
    records, gold = list(read_records(working / "journal.jsonl")), read_gold(SAMPLE_PROBLEMS)
    solutions = [record for record in records if record["kind"] == "solution"]
    report = make_report(read_problems(SAMPLE_PROBLEMS), gold, solutions, working / "submission.parquet")
    (folder / "dry-run.svg").write_text(terminal_picture(report))
    draw_timeline(read_timeline(records, gold=gold), folder / "timeline.png")


def terminal_picture(report: Report) -> str:
    """The report as it stands in a terminal, as SVG."""
    console = Console(record=True, width=NUM_COLUMNS, file=io.StringIO(), highlight=False)
    console.print(Text("$ make dry-run", "bold"))
    console.print("network: a network namespace of its own, only loopback; inputs: read-only")
    console.print(as_table(report))
    console.print(f"right: {report.num_right} of {report.num_gold}")
    svg = console.export_svg(title="kit dry-run")
    # A README picture must not fetch fonts: the reader's monospace will do.
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)


if __name__ == "__main__":
    main()
