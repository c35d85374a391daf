"""Whose the credentials are: the username where none is given, and the one that is given compared with it.

A key and a login name their owner; of a token only Kaggle knows, and the client asks it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from kit.errors import InputError, cannot_write
from kit.kaggle.upload.asking import not_accepted
from kit.kaggle.upload.client import KaggleClient, check_installed, client_in
from kit.kaggle.upload.credentials import Credentials, client_environment, find_credentials
from kit.kaggle.upload.faults import ClientError, Fault, KaggleError
from kit.kaggle.upload.fixes import WAIT

_STALL_S = 600.0


def owner(given: str | None, *, environ: Mapping[str, str]) -> str:
    """The username that is given, else that of the credentials.

    Raises: MissingError (no credentials, no client); KaggleError if Kaggle does not say whose they are.
    """
    if given is not None:
        return given
    credentials = find_credentials(environ)
    if credentials.username is not None:
        return credentials.username.lower()
    check_installed()
    with tempfile.TemporaryDirectory() as folder, client_with(credentials, Path(folder), environ=environ) as client:
        return _username(client)


@contextmanager
def client_of(username: str, *, work: Path, environ: Mapping[str, str]) -> Iterator[KaggleClient]:
    """The client of this very user, in the folder `work`.

    Raises: MissingError (no credentials, no client); StorageError; InputError if the credentials are another's.
    """
    credentials = find_credentials(environ)
    check_installed()
    with client_with(credentials, work, environ=environ) as client:
        theirs = credentials.username.lower() if credentials.username is not None else _username(client)
        if theirs != username:
            raise InputError(
                f"--username {username}: the credentials ({credentials.source}) are of {theirs}; "
                f"leave --username out, or use the credentials of {username}"
            )
        yield client


@contextmanager
def client_with(
    credentials: Credentials, folder: Path, *, environ: Mapping[str, str], stall_s: float = _STALL_S
) -> Iterator[KaggleClient]:
    """The client of these credentials, whoever's they are, in `folder`; see `client_in`. Raises: StorageError."""
    scratch = folder / "client"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        scratch.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise cannot_write(scratch, error) from error
    environ = client_environment(environ, scratch=scratch)
    with client_in(folder, environ=environ, scrub=credentials.scrubbed, stall_s=stall_s) as client:
        yield client


def _username(client: KaggleClient) -> str:
    told = "Kaggle does not say whose the credentials are"
    try:
        found = client.username().lower()
    except ClientError as problem:
        if problem.fault is Fault.UNAUTHENTICATED:
            raise not_accepted(problem, "then run the same command again") from problem
        raise KaggleError(f"{told}: {problem}\n{WAIT}") from problem
    if not found:
        raise KaggleError(f"{told}\nname yours with --username")
    return found
