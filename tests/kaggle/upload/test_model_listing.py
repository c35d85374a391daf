"""A Kaggle Model listed by the unmodified `kaggle` client, against a loopback server."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from kit.errors import InputError, MissingError
from kit.kaggle.dataset.manifest import ListedFile
from kit.kaggle.upload.faults import KaggleError
from kit.kaggle.upload.model_listing import list_model
from tests.kaggle.upload import kaggle_server
from tests.kaggle.upload.kaggle_server import Fault, KaggleServer

REF = "danielhanchen/gpt-oss-120b/Transformers/default/1"
real_client = [
    pytest.mark.slow,
    pytest.mark.timeout(120),
    pytest.mark.skipif(
        importlib.util.find_spec("kaggle") is None or importlib.util.find_spec("six") is None,
        reason="no `kaggle` client here: NOTHING of the listing is tested",
    ),
]


class ModelServer(KaggleServer):
    """Lists its files a page at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes = {"config.json": 812, "original/config.json": 9, "model.safetensors": 65 << 30}
        self.asked: list[Mapping[str, Any]] = []

    def _model(self, asked: Mapping[str, Any]) -> tuple[int, Mapping[str, Any]]:
        self.asked.append(asked)
        place = int(asked.get("pageToken", 0))
        name, size = list(self.sizes.items())[place]
        more = {"nextPageToken": str(place + 1)} if place + 1 < len(self.sizes) else {}
        return 200, {"files": [{"name": name, "size": size}], **more}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    monkeypatch.setitem(kaggle_server._SERVICES, "ListModelInstanceVersionFiles", "model")
    with ModelServer() as running:
        yield running
        assert not running.broken


def environ_of(server: ModelServer, home: Path) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": str(home), **server.environ}


class TestListing:
    pytestmark = real_client

    def test_names_and_sizes_of_all_pages_without_folders_below(self, server: ModelServer, tmp_path: Path) -> None:
        found = list_model(REF, environ=environ_of(server, tmp_path))
        assert found == (
            ListedFile(file="config.json", size_bytes=812),
            ListedFile(file="model.safetensors", size_bytes=65 << 30),
        )
        told = {key: server.asked[0][key] for key in ("ownerSlug", "modelSlug", "instanceSlug", "versionNumber")}
        assert list(told.values()) == ["danielhanchen", "gpt-oss-120b", "default", 1]
        assert "TRANSFORMERS" in server.asked[0]["framework"].upper()

    def test_a_model_that_is_not_there_is_told(self, server: ModelServer, tmp_path: Path) -> None:
        server.faults.append(Fault("model", code=404))
        with pytest.raises(KaggleError, match="not found"):
            list_model(REF, environ=environ_of(server, tmp_path))


def test_what_names_no_version_and_missing_credentials_are_told_before_anything_is_asked(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="owner/model/framework/variation/version"):
        list_model("danielhanchen/gpt-oss-120b", environ={})
    with pytest.raises(MissingError, match="credentials"):
        list_model(REF, environ={"HOME": str(tmp_path)})
