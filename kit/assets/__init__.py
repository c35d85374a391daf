"""Where the files that ship with the kit lie: the tiny model with its TRM, and sample problems of our own."""

from pathlib import Path

TINY_MODEL = Path(__file__).parent / "tiny"
TINY_TRM = Path(__file__).parent / "tiny-trm"
SAMPLE_PROBLEMS = Path(__file__).parent / "problems.csv"
TEMML = Path(__file__).parent / "temml"
"""Temml 0.13.5 (MIT; its LICENSE beside it), which renders LaTeX as MathML in a browser."""

REPORT_PAGE = Path(__file__).parent / "report"
"""The report page's own HTML frame, style and script."""
