"""Where the Kaggle client finds its credentials, and keeping them out of everything that is shown or uploaded.

In: the environment and the home folder. Out: that there are credentials, where they come from, and the secrets as
text, to be struck from output. Nothing is asked for, nothing is written, and whether Kaggle accepts them only
Kaggle can say.

Source: the client's own order, read in kaggle 2.2.4 and 2.2.5 (`KaggleApi.authenticate`,
`kagglesdk.kaggle_env.get_access_token_from_env`, `KaggleCredentials.load`).
"""

from __future__ import annotations

import base64
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kit.errors import MissingError
from kit.json_text import read_json
from kit.kaggle.facts import (
    API_VARIABLE,
    CONFIG_VARIABLE,
    KEY_VARIABLE,
    NEW_TOKEN,
    TOKEN_VARIABLE,
    USERNAME_VARIABLE,
)

_HIDDEN = "[hidden]"
_MIN_SECRET_CHARACTERS = 6  # striking out a shorter one would strike out ordinary words
_SIGNED_QUERY = re.compile(r"\?[\w.~%+-]+=[^\s'\")]*")  # of an upload address: whoever has it can write there
_PASSED_ON = (
    *("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "SYSTEMROOT"),
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR", "XDG_CONFIG_HOME"),
    *(TOKEN_VARIABLE, USERNAME_VARIABLE, KEY_VARIABLE, CONFIG_VARIABLE, API_VARIABLE),
)
"""All that the client gets. VERBOSE must not be among it: the client would print its Authorization headers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """source: the place the client takes them from. username: the key's owner; a token's only Kaggle knows.

    secrets: every secret found in any place, because the client may send one that it did not choose.
    """

    source: str
    username: str | None
    secrets: tuple[str, ...] = field(repr=False)

    def scrubbed(self, text: str) -> str:
        """`text` without any secret, and without the signed part of upload addresses."""
        for secret in self.secrets:
            text = text.replace(secret, _HIDDEN)
        return _SIGNED_QUERY.sub(f"?{_HIDDEN}", text)

    def found_in(self, content: bytes) -> bool:
        """Whether a secret stands in `content`."""
        return any(secret.encode() in content for secret in self.secrets)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """One place: what it holds, or why it does not count."""

    name: str
    username: str | None = None
    secrets: tuple[str, ...] = ()
    lack: str = "not there"


def find_credentials(environ: Mapping[str, str]) -> Credentials:
    """The credentials that the client would use; the first of several places counts.

    Raises: MissingError naming every place that was looked at, and how to get credentials.
    """
    places = (*_token_places(environ), _key_place(environ), _login_place(environ))
    found = next((place for place in places if place.secrets), None)
    if found is None:
        looked_at = "".join(f"\n  {place.name}: {place.lack}" for place in places)
        raise MissingError(f"no Kaggle credentials; looked at{looked_at}\n{NEW_TOKEN}, or set {TOKEN_VARIABLE}")
    secrets = {secret for place in places for secret in place.secrets if len(secret) >= _MIN_SECRET_CHARACTERS}
    return Credentials(
        source=found.name, username=found.username, secrets=tuple(sorted(secrets, key=lambda each: (-len(each), each)))
    )


def client_environment(environ: Mapping[str, str], *, scratch: Path) -> dict[str, str]:
    """The clean environment of the client, which keeps its upload sessions below `scratch`.

    Paths of credentials become absolute, because the client runs in another folder.
    """
    passed = {name: environ[name] for name in _PASSED_ON if name in environ}
    for name in (TOKEN_VARIABLE, CONFIG_VARIABLE):
        if passed.get(name) and _exists(Path(passed[name])):
            passed[name] = str(Path(passed[name]).absolute())
    return {**passed, "TMPDIR": str(scratch.absolute()), "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}


def _token_places(environ: Mapping[str, str]) -> Iterator[_Place]:
    value = environ.get(TOKEN_VARIABLE, "")
    if value and _exists(Path(value)):
        yield _token_file(Path(value), f"{TOKEN_VARIABLE}={value}")
    else:
        yield _Place(name=TOKEN_VARIABLE, secrets=(value,) if value else (), lack="not set")
    folder = _home(environ) / ".kaggle"
    for name in ("access_token", "access_token.txt"):
        yield _token_file(folder / name, str(folder / name))


def _token_file(path: Path, name: str) -> _Place:
    if not path.is_file():
        return _Place(name=name)
    token = _text(path).strip()
    return _Place(name=name, secrets=(token,) if token else (), lack="empty or not readable")


def _key_place(environ: Mapping[str, str]) -> _Place:
    """The username and the key, each from the environment or else from kaggle.json."""
    path = _config_folder(environ) / "kaggle.json"
    name = f"{USERNAME_VARIABLE} and {KEY_VARIABLE}, or {path}"
    config = _object(path)
    username = environ.get(USERNAME_VARIABLE) or str(config.get("username") or "")
    key = environ.get(KEY_VARIABLE) or str(config.get("key") or "")
    if username and key:
        basic = base64.b64encode(f"{username}:{key}".encode()).decode()
        return _Place(name=name, username=username, secrets=(key, basic))
    if username or key:
        return _Place(name=name, lack=f"there is a {'username' if username else 'key'} but no {_other(username)}")
    return _Place(name=name, lack="holds no username and key" if path.is_file() else "not there")


def _login_place(environ: Mapping[str, str]) -> _Place:
    path = _home(environ) / ".kaggle" / "credentials.json"
    config = _object(path)
    secrets = tuple(str(config[name]) for name in ("refresh_token", "access_token") if config.get(name))
    if not config.get("refresh_token"):
        return _Place(name=f"{path} (`kaggle auth login`)")
    return _Place(name=str(path), username=config.get("username"), secrets=secrets)


def _config_folder(environ: Mapping[str, str]) -> Path:
    if environ.get(CONFIG_VARIABLE):
        return Path(environ[CONFIG_VARIABLE])
    folder = _home(environ) / ".kaggle"
    if sys.platform.startswith("linux") and not folder.exists():
        return Path(environ.get("XDG_CONFIG_HOME") or _home(environ) / ".config") / "kaggle"
    return folder


def _home(environ: Mapping[str, str]) -> Path:
    return Path(environ["HOME"]) if environ.get("HOME") else Path.home()


def _other(username: str) -> str:
    return "key" if username else "username"


def _object(path: Path) -> Mapping[str, Any]:
    """The JSON object in a file; empty if there is none, which the client takes for no credentials, too."""
    try:
        content = read_json(_text(path))
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _exists(path: Path) -> bool:
    try:
        return path.is_file() or path.is_dir()
    except OSError:  # a token that is too long to be a path
        return False
