"""`predict` as kaggle_evaluation calls it: two series of length one in, a frame of one row out."""

from __future__ import annotations

import logging
from typing import Any, Protocol

import polars as pl

from kit.kaggle.notebook.boundary import Competition
from kit.problem import Problem

log = logging.getLogger(__name__)


class Predict(Protocol):
    """What kaggle_evaluation wants: a plain function with this name and these arguments."""

    def __call__(self, id_: pl.Series, problem: pl.Series, answer: pl.Series | None = None) -> pl.DataFrame:
        """Answer one row."""


def predict_function(competition: Competition) -> Predict:
    """The function to hand to the inference server: a plain one named `predict`, as it demands."""

    def predict(id_: pl.Series, problem: pl.Series, answer: pl.Series | None = None) -> pl.DataFrame:
        """Answer one row; `answer` comes with the public reference file only and is not looked at."""
        asked = Problem(_scalar(id_), _scalar(problem))
        solution = competition.answer(asked)
        log.info("%s: %d (%s, %.1f s)", asked.id, solution.answer, solution.reason.value, solution.seconds)
        return pl.DataFrame(
            {"id": [asked.id], "answer": [solution.answer]}, schema={"id": pl.String, "answer": pl.Int64}
        )

    return predict


def _scalar(value: Any) -> str:
    """The text in a series of length one; also takes a bare value, an empty series or a null."""
    if isinstance(value, pl.Series):
        value = value[0] if len(value) else None
    return "" if value is None else str(value)
