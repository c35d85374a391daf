"""What enters a dataset and what stays out: files of a model, wheels of a lock, and never a secret.

In: folders that the user named. Out: every file that enters, with the path it gets, and every file that does not,
with the reason. Only kinds of files that loading a model may need enter; whatever else lies in its folder
(optimizer states, logs, subfolders, hidden files) is left out and told. A file that would enter and holds a secret
is refused, because leaving it out would break the model.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from zipfile import ZipFile

from kit.errors import InputError, MissingError
from kit.kaggle.wheels.lockfile import Lock, requirements_path

KINDS = frozenset(
    ".safetensors .json .txt .model .vocab .bpe .tiktoken .jinja .py .md".split()
)  # by ending: weights, settings, vocabularies, templates, code that `trust_remote_code` runs, the model card
NAMES = frozenset(("LICENSE", "LICENCE", "NOTICE", "COPYING", "USE_POLICY"))
_SECRET_NAMES = re.compile(
    r"kaggle\.json|credentials(\.json)?|access_token(\.txt)?|secrets?(\.\w+)?|tokens?(\.txt)?|\.env.*|.*\.env"
    r"|\.netrc|\.git(-credentials)?|\.npmrc|\.pypirc|id_(rsa|dsa|ecdsa|ed25519)(\.pub)?|.*\.(pem|key|p12|pfx)|service_account.*\.json",
    re.IGNORECASE,
)
_SECRETS = re.compile(
    rb"\bhf_[A-Za-z0-9]{34}\b"  # Hugging Face
    rb"|\bKGAT_[0-9a-f]{32}\b"  # Kaggle
    rb'|"key"\s*:\s*"(?i:[0-9a-f]{32})"'  # Kaggle's kaggle.json
    rb"|(?i:KAGGLE_KEY)\W{1,6}(?i:[0-9a-f]{32})"
    rb'|"(?:refresh|access)_token"\s*:\s*"[^"\s]{16,}"'  # an OAuth login
    rb"|(?i:\b(?:api_?key|secret))\W{1,5}(?i:[0-9a-f]{32,})"
    rb"|\bgh[pousr]_[A-Za-z0-9]{36}\b|\bgithub_pat_\w{60,}"
    rb"|\bAKIA[0-9A-Z]{16}\b"  # Amazon
    rb"|\bsk-[A-Za-z0-9_-]{40,}"  # OpenAI and others
    rb"|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)
_WEIGHTS = ".safetensors"  # numbers only, and too many of them; whatever else enters is searched
_CHUNK_BYTES = 16 << 20
_OVERLAP_BYTES = 4096  # longer than any secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A file that enters. path: where it belongs in the dataset. sha256: if it is known beforehand."""

    path: str
    file: Path
    size_bytes: int
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file or folder that does not enter."""

    file: Path
    reason: str


@dataclass(frozen=True, slots=True)
class Followed:
    """A link that enters as the file that it leads to, which lies outside of the model's folder."""

    file: Path
    target: Path


@dataclass(frozen=True, slots=True)
class Contents:
    """What enters, sorted by path, what does not, and which of it came by a link from outside."""

    sources: tuple[Source, ...]
    left_out: tuple[LeftOut, ...] = ()
    followed: tuple[Followed, ...] = ()

    def __add__(self, other: Contents) -> Contents:
        sources = sorted((*self.sources, *other.sources), key=lambda source: source.path)
        return Contents(tuple(sources), (*self.left_out, *other.left_out), (*self.followed, *other.followed))


def model_contents(name: str, folder: Path) -> Contents:
    """The files right in a model's folder, below `name` in the dataset.

    A link enters as the file that it leads to. One that leaves the folder is told, for what it leads to may not be
    meant to be public; the cache of the Hugging Face hub, which is made of such links, is the exception. A link to a
    secret by its name is left out as the secret would be.
    Raises: InputError for a file that would enter and holds a secret.
    """
    entering: list[Source] = []
    left_out: list[LeftOut] = []
    followed: list[Followed] = []
    for file in sorted(folder.iterdir()):
        reason = _reason_to_leave(file)
        if reason:
            left_out.append(LeftOut(file, reason))
            continue
        source = source_of(f"{name}/{file.name}", file)
        if file.suffix != _WEIGHTS:
            with file.open("rb") as content:
                _check_content(file, content)
        entering.append(source)
        if _leaves(file, folder):
            followed.append(Followed(file, file.resolve()))
    return Contents(tuple(entering), tuple(left_out), tuple(followed))


def added_contents(name: str, files: Sequence[Path]) -> Contents:
    """Single files that shall lie in a model's folder, below `name`.

    Raises: MissingError or InputError for one that is not there, is of no use there, or holds a secret.
    """
    for file in files:
        if not file.is_file():
            raise MissingError(f"{file}: no such file; name one that the model lacks")
        if reason := _reason_to_leave(file):
            raise InputError(f"{file}: cannot be added to the model: {reason}")
        if file.suffix != _WEIGHTS:
            with file.open("rb") as content:
                _check_content(file, content)
    return Contents(
        tuple(sorted((source_of(f"{name}/{file.name}", file) for file in files), key=lambda each: each.path))
    )


def wheel_contents(name: str, lock: Lock, lock_file: Path, folder: Path) -> Contents:
    """The locked wheels in `folder`, the lock itself and its export for pip, below `name`; no other files.

    Raises: MissingError or InputError naming the first wheel that is missing or has another size.
    """
    sources = [source_of(f"{name}/{lock_file.name}", lock_file)]
    fix = f"get it with `kit wheels fetch --target {lock.target.name}`"
    export = lock.requirements().encode()
    wanted = [(folder / wheel.file, wheel.size_bytes, wheel.sha256) for wheel in lock.wheels]
    wanted.append((requirements_path(folder, lock.target.name), len(export), hashlib.sha256(export).hexdigest()))
    for file, size_bytes, sha256 in wanted:
        if not file.is_file():
            raise MissingError(f"{file}: missing, the lock names it; {fix}")
        if file.stat().st_size != size_bytes:
            raise InputError(f"{file}: {file.stat().st_size} bytes, the lock says {size_bytes}; {fix}")
        sources.append(Source(path=f"{name}/{file.name}", file=file, size_bytes=size_bytes, sha256=sha256))
    return Contents(tuple(sorted(sources, key=lambda source: source.path)))


def check_kit_wheel(wheel: Path) -> None:
    """Refuse a wheel of the kit that took in a secret from the checkout.

    Raises: InputError naming the file in the wheel.
    """
    with ZipFile(wheel) as archive:
        for info in archive.infolist():
            inside = Path(info.filename)
            if any(_SECRET_NAMES.fullmatch(part) for part in inside.parts):
                raise InputError(f"{inside} would enter the kit's wheel and is a secret by its name; move it away")
            with archive.open(info) as content:
                _check_content(inside, content)


def source_of(path: str, file: Path) -> Source:
    """A file as it is now."""
    return Source(path=path, file=file, size_bytes=file.stat().st_size)


def _reason_to_leave(file: Path) -> str:
    """Why a file of a model's folder does not enter; "" if it does."""
    reasons: Iterator[tuple[bool, str]] = iter(
        (
            (bool(_SECRET_NAMES.fullmatch(file.name)), "a secret by its name"),
            (bool(_SECRET_NAMES.fullmatch(file.resolve().name)), "a link to a secret by its name"),
            (file.name.startswith("."), "hidden"),
            (file.is_dir(), "a folder; only files right in the model's folder enter"),
            (not file.is_file(), "not a file"),
            (file.suffix not in KINDS and file.name not in NAMES, "no kind of file that loading a model needs"),
        )
    )
    return next((reason for holds, reason in reasons if holds), "")


def _leaves(file: Path, folder: Path) -> bool:
    """Whether a file lies elsewhere than in this folder, or in the hub's cache than in its own blobs."""
    target, home = file.resolve(), folder.resolve()
    blobs = home.parents[1] / "blobs" if home.parent.name == "snapshots" else home
    return home not in target.parents and blobs != target.parent


def _check_content(file: Path, content: IO[bytes]) -> None:
    """Search it piece by piece, so that memory stays flat; UTF-16 is searched without its zeros."""
    line, tail = 1, b""
    while chunk := content.read(_CHUNK_BYTES):
        piece = tail + chunk.replace(b"\0", b"")
        found = _SECRETS.search(piece)
        if found is not None:
            line += piece.count(b"\n", 0, found.start())
            fix = "take it out of the file, and make a new one if the file was ever shared"
            raise InputError(f"{file}: line {line} holds what looks like a key or token; {fix}")
        tail = piece[-_OVERLAP_BYTES:]
        line += piece.count(b"\n", 0, len(piece) - len(tail))
