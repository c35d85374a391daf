"""Where the files that ship with the kit lie: the tiny model, and sample problems of our own."""

from pathlib import Path

TINY_MODEL = Path(__file__).parent / "tiny"
SAMPLE_PROBLEMS = Path(__file__).parent / "problems.csv"
