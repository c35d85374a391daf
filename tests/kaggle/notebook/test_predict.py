"""`predict` takes whatever rows there are, and returns one row with an integer."""

from __future__ import annotations

import polars as pl
import pytest

from kit.kaggle.notebook.predict import predict_function
from tests.kaggle.notebook.competitions import answering, competition, opened


def test_answers_with_one_row_of_the_right_types() -> None:
    with competition(opened(answering(7))) as running:
        frame = predict_function(running)(pl.Series(["a"]), pl.Series(["What is $3+4$?"]))
    assert frame.to_dicts() == [{"id": "a", "answer": 7}]
    assert frame.schema == {"id": pl.String, "answer": pl.Int64}


def test_predict_is_what_kaggle_evaluation_takes_and_does_not_look_at_the_answer() -> None:
    with competition(opened(answering(7))) as running:
        predict = predict_function(running)
        assert predict.__name__ == "predict"  # type: ignore[attr-defined]
        assert type(predict).__name__ == "function"
        frame = predict(pl.Series(["a"]), pl.Series(["?"]), pl.Series([336]))
    assert frame["answer"].to_list() == [7]


@pytest.mark.parametrize(
    ("id_", "problem"),
    [
        (pl.Series([None], dtype=pl.String), pl.Series([None], dtype=pl.String)),
        (pl.Series([], dtype=pl.String), pl.Series([], dtype=pl.String)),
        (pl.Series([5]), pl.Series([3.5])),
        (None, None),
        ("a", "?"),
        (pl.Series(["\x00‮"]), pl.Series(["\\boxed{" * 10_000])),
    ],
)
def test_any_row_at_all_gets_an_answer(id_: object, problem: object) -> None:
    with competition(opened(answering(7))) as running:
        frame = predict_function(running)(id_, problem)  # type: ignore[arg-type]
    assert frame["answer"].to_list() == [7]
    assert frame.schema == {"id": pl.String, "answer": pl.Int64}
