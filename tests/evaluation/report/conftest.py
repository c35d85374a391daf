"""A real Chromium that has no network and in which any request, console message or error of a page fails the test."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = Path(os.environ.get("KIT_CHROMIUM", "/usr/bin/chromium"))

OpenPage = Callable[..., Any]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if not CHROMIUM.is_file():
        pytest.skip(f"THE REPORT IS NOT TESTED IN A BROWSER: no Chromium at {CHROMIUM}; install it or set KIT_CHROMIUM")
    sync_api = pytest.importorskip("playwright.sync_api", reason="THE REPORT IS NOT TESTED IN A BROWSER: no playwright")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Any, tmp_path: Path) -> Iterator[OpenPage]:
    """Writes a page and opens it; whatever it told or asked for by the end of the test fails the test."""
    contexts, told = [], []

    def opened(html: str, *, width: int = 1200, scheme: str = "light") -> Any:
        path = tmp_path / f"page-{len(contexts)}.html"
        path.write_text(html, encoding="utf-8")  # which half a pair would break
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme, offline=True)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: told.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: told.append(f"error: {error}"))
        page.on("dialog", lambda dialog: told.append(f"dialog: {dialog.message}"))
        page.on(
            "request", lambda request: told.append(f"request: {request.url}") if request.url != path.as_uri() else None
        )
        page.goto(path.as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert told == []
