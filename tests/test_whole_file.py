"""Files written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from kit.errors import StorageError
from kit.whole_file import written_whole


def test_the_file_is_there_when_the_block_ends_and_not_before(tmp_path: Path) -> None:
    path = tmp_path / "told.json"
    with written_whole(path) as part:
        part.write_text("1")
        assert not path.exists()
    assert path.read_text() == "1"
    assert [each.name for each in path.parent.iterdir()] == ["told.json"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
def test_an_error_leaves_what_was_there_and_nothing_beside_it(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "told.json"
    path.write_text("old")

    def write_half() -> None:
        with written_whole(path) as part:
            part.write_text("half")
            raise error

    with pytest.raises(StorageError if error is OSError else error):
        write_half()
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["told.json"]


def test_a_folder_that_is_not_there_is_a_storage_error_with_the_files_name(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"told\.json"), written_whole(tmp_path / "none" / "told.json") as part:
        part.write_text("1")
