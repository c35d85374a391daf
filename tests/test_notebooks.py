"""The teaching notebook: short, without outputs, and executed to its end, where depth is seen to buy answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

TEACHING = "train_and_evaluate.ipynb"
TELL = "import json; print(json.dumps([[s.num_steps, s.depth, s.right / s.num] for s in found]))"


@pytest.fixture
def notebook(repo: Path) -> Any:
    return nbformat.read(repo / "notebooks" / TEACHING, as_version=4)


def test_the_teaching_notebook_is_short_explained_and_without_outputs(notebook: Any) -> None:
    nbformat.validate(notebook)
    kinds = [cell.cell_type for cell in notebook.cells]
    assert kinds == ["markdown", *["markdown", "code"] * 4, "markdown"]
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert len(cell.source.splitlines()) <= 12
            assert (cell.outputs, cell.execution_count) == ([], None)


@pytest.mark.long
def test_the_teaching_notebook_runs_to_its_picture_and_a_query_of_k_steps_needs_t_of_k(
    notebook: Any, tmp_path: Path
) -> None:
    notebook.cells.append(nbformat.v4.new_code_cell(TELL))
    NotebookClient(notebook, timeout=None, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert (tmp_path / "out" / "depth.png").read_bytes().startswith(b"\x89PNG")
    drawn = [output for output in notebook.cells[-3].outputs if "image/png" in output.get("data", {})]
    assert len(drawn) == 1
    share = {(k, depth): right for k, depth, right in json.loads(notebook.cells[-1].outputs[0].text)}
    for k in (1, 2, 3):
        assert share[k, k] > 0.9
        assert share[k, k - 1] < 0.5
        assert share[k, 6] > 0.9
