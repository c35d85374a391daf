"""The package index that pip is configured with: which files it offers of a project, and their bytes.

Needed besides uv and pip because neither goes on, in a later run, with a file that it had half; a lock names no
address, so the files are looked up by name. Speaks the simple repository API as JSON over HTTP (PEP 691). No index is
named here: the address comes from pip's own configuration and, where that says nothing, from pip's own default. Only
the main index is asked, so that a fetch does not depend on what else a machine is configured with. Addresses may hold
passwords, so no message shows one.
"""

from __future__ import annotations

import ast
import base64
import http.client
import os
import re
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from kit.errors import InputError, MissingError
from kit.json_text import read_json

_Result = TypeVar("_Result")

_ACCEPT = "application/vnd.pypi.simple.v1+json"
_TIMEOUT_S = 30.0  # of one connection or read, not of a file
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})  # HTTP statuses worth asking again
PAUSES_S = (0.5, 1.0, 2.0, 4.0, 8.0)
"""How long to wait before each further attempt."""


class DroppedError(Exception):
    """A request failed in a way that may pass: a dropped connection, a busy server."""


class BeyondEndError(DroppedError):
    """A range was asked for that begins after the file's last byte."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A file that an index offers; sha256 is None where it does not say."""

    file: str
    url: str
    sha256: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """An index and how to talk to it.

    certificates: a file of those to trust, None for the system's. pauses_s: the wait before each further attempt.
    """

    url: str = field(repr=False)
    certificates: str | None = None
    pauses_s: Sequence[float] = PAUSES_S
    _context: ssl.SSLContext | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if urllib.parse.urlsplit(self.url).scheme not in ("http", "https"):
            raise InputError("pip's index-url must begin with http:// or https://; set PIP_INDEX_URL")
        try:
            context = ssl.create_default_context(cafile=self.certificates) if self.certificates else None
        except OSError as error:
            raise InputError(f"{self.certificates}: pip's `cert` cannot be read ({error}); fix pip's setting") from None
        object.__setattr__(self, "_context", context)

    def offers(self, project: str) -> tuple[Offer, ...]:
        """Every file of a project, in the index's order.

        Raises: MissingError if the index has no such project or cannot be reached; InputError if it does not
        speak the simple API as JSON.
        """
        address = f"{self.url.rstrip('/')}/{project}/"

        def attempt() -> tuple[Offer, ...]:
            with self.opened(address, what=project, headers={"Accept": _ACCEPT}) as page:
                return _offers(page.read(), page.url, project)

        return self.retried(attempt, what=project)

    def opened(self, url: str, *, what: str, headers: Mapping[str, str]) -> Any:
        """The open answer to one request, to be closed by the caller.

        what: what is asked for, in messages.
        Raises: DroppedError for what may pass; MissingError or InputError for a refusal.
        """
        address, authorisation = _without_password(url)
        own = authorisation or (_without_password(self.url)[1] if _host(url) == _host(self.url) else {})
        request = urllib.request.Request(address, headers={**own, **headers})
        with passing_faults():
            try:
                return urllib.request.urlopen(request, timeout=_TIMEOUT_S, context=self._context)
            except urllib.error.HTTPError as error:
                error.close()
                raise _refusal(error.code, what) from None

    def retried(
        self,
        attempt: Callable[[], _Result],
        *,
        what: str,
        progress: Callable[[], int] = lambda: 0,
        pause: Callable[[float], object] = time.sleep,
    ) -> _Result:
        """What `attempt` returns, tried again after each DroppedError until the pauses are used up.

        progress: a count that grows when an attempt was not in vain; the pauses then begin anew.
        Raises: MissingError once they are used up, and whatever else `attempt` raises.
        """
        num_failures, best = 0, progress()
        while True:
            try:
                with passing_faults():
                    return attempt()
            except DroppedError as error:
                if progress() > best:
                    num_failures, best = 0, progress()
                if num_failures == len(self.pauses_s):
                    fix = "check the network and pip's index; the same command goes on where it stopped"
                    raise MissingError(f"{what}: the index does not give it ({error}); {fix}") from None
                pause(self.pauses_s[num_failures])
                num_failures += 1


@contextmanager
def passing_faults() -> Iterator[None]:
    """Turns the standard library's many errors of a failing connection into DroppedError."""
    try:
        yield
    except urllib.error.URLError as error:
        raise DroppedError(str(error.reason)) from error
    except (TimeoutError, ConnectionError, ssl.SSLError, http.client.HTTPException) as error:
        raise DroppedError(str(error) or type(error).__name__) from error


def configured_index(environ: Mapping[str, str] = os.environ) -> Index:
    """The index that pip of this Python would use, with pip's certificates.

    Raises: MissingError if there is no pip to ask; InputError for an index that is not on HTTP.
    """
    settings = _pip_settings(environ)
    return Index(url=settings.get("index-url") or _pip_default(environ), certificates=settings.get("cert"))


def _pip_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """pip's settings for `install`; the environment goes before the command's own, that before the global."""
    found: dict[str, dict[str, str]] = {"global": {}, "install": {}, ":env:": {}}
    for line in _pip(["config", "list"], environ).splitlines():
        name, _, value = line.partition("=")
        section, _, key = name.rpartition(".")
        if section in found:
            found[section][key] = str(ast.literal_eval(value))
    return {**found["global"], **found["install"], **found[":env:"]}


def _pip_default(environ: Mapping[str, str]) -> str:
    """The index that pip's own help names as its default."""
    text = _pip(["install", "--help"], {**environ, "COLUMNS": "1000"})
    found = re.search(r"index-url <url>.*?\(default (\S+?)\)", text, re.DOTALL)
    if found is None:
        raise MissingError("pip does not say which index is its default; set PIP_INDEX_URL")
    return found[1]


def _pip(arguments: Sequence[str], environ: Mapping[str, str]) -> str:
    command = [sys.executable, "-P", "-m", "pip", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(environ))
    if done.returncode:
        fix = f"install it with `{sys.executable} -m ensurepip`"
        raise MissingError(f"{sys.executable}: pip does not tell its index ({done.stderr.strip()[-200:]}); {fix}")
    return done.stdout


def _offers(content: bytes, base: str, project: str) -> tuple[Offer, ...]:
    try:
        return tuple(
            Offer(
                file=each["filename"],
                url=urllib.parse.urljoin(base, each["url"]),
                sha256=each["hashes"].get("sha256"),
            )
            for each in read_json(content)["files"]
        )
    except (ValueError, KeyError, TypeError) as error:
        fix = "set PIP_INDEX_URL to one that does"
        raise InputError(f"{project}: pip's index does not speak the simple API as JSON ({error}); {fix}") from None


def _refusal(status: int, what: str) -> Exception:
    if status in _PASSING:
        return DroppedError(f"HTTP status {status}")
    if status == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        return BeyondEndError("its file is shorter than it should be")
    if status in (404, 410):
        return MissingError(f"{what}: the index has none; check the name, or make the lock anew")
    return InputError(f"{what}: the index answers with HTTP status {status}; check pip's index and its password")


def _without_password(url: str) -> tuple[str, dict[str, str]]:
    """The address without `user:password@`, and the header that stands for it; urllib takes none in the address."""
    parts = urllib.parse.urlsplit(url)
    if parts.username is None:
        return url, {}
    user, password = (urllib.parse.unquote(each or "") for each in (parts.username, parts.password))
    token = base64.b64encode(f"{user}:{password}".encode()).decode()
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2])
    return urllib.parse.urlunsplit(bare), {"Authorization": f"Basic {token}"}


def _host(url: str) -> str:
    return urllib.parse.urlsplit(url).netloc.rpartition("@")[2]
