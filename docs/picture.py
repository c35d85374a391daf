"""Draw docs/dry-run.svg, the picture in the README, from a dry run that has just ended.

python docs/picture.py out/dry-run/run-0001
"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

from kit.assets import SAMPLE_PROBLEMS
from kit.kaggle.dry_run.report import as_table, make_report
from kit.problem import read_gold, read_problems
from kit.solver.journal import read_records


def main() -> None:
    """Print the report of the run as the command line does, and save what it looked like."""
    working = Path(sys.argv[1]) / "kaggle" / "working"
    solutions = [record for record in read_records(working / "journal.jsonl") if record["kind"] == "solution"]
    problems, gold = read_problems(SAMPLE_PROBLEMS), read_gold(SAMPLE_PROBLEMS)
    report = make_report(problems, gold, solutions, working / "submission.parquet")
    console = Console(record=True, width=104, file=io.StringIO(), highlight=False)
    console.print(Text("$ make dry-run", "bold"))
    console.print("network: a network namespace of its own, only loopback")
    console.print(as_table(report))
    console.print(f"right: {report.num_right} of {report.num_gold}")
    svg = console.export_svg(title="kit dry-run")
    # A README picture must not fetch fonts: the reader's monospace will do.
    Path("docs/dry-run.svg").write_text(re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL))


if __name__ == "__main__":
    main()
