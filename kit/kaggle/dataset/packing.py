"""Which file of the dataset holds what: flat names that Kaggle leaves alone, and few enough files.

In: the files that enter. Out: pieces, each one file of the dataset. A file stays a file of its own, because a mounted
one is linked at startup and costs nothing; only if there are too many are the smallest put into archives, which are
read out at startup. The same files always give the same pieces.

An archive is a tar without compression whose name hides that, so that Kaggle does not unpack it by its ending
(docs/kaggle.md#datasets; wheels, which are zips, stay whole the same way). Should it be unpacked all the same,
`mounted` finds its members by their names, which are unique in the whole dataset.
"""

from __future__ import annotations

import hashlib
import re
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass

from kit.errors import InputError
from kit.kaggle.dataset.contents import Source
from kit.kaggle.facts import MAX_FILES, UNPACKED

ARCHIVE_BYTES = 4 << 30
"""An archive is closed before it would be larger, so that a broken upload repeats a few GB at most."""
MAX_PIECES = MAX_FILES - 2  # besides the manifest and the client's metadata

_SEPARATOR = "__"  # stands for "/" in flat names
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")
_MAX_NAME_CHARACTERS = 100  # what the oldest tar header holds
_BLOCK_BYTES = 512
_END_BYTES = 2 * _BLOCK_BYTES


@dataclass(frozen=True, slots=True)
class Packed:
    """A file on its way into the dataset. name: its flat name, there or in an archive."""

    name: str
    source: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One file of the dataset. file: its name. contents: one file, or those of an archive in their order."""

    file: str
    contents: tuple[Packed, ...]
    is_archive: bool = False

    @property
    def size_bytes(self) -> int:
        """Bytes of the file, headers included."""
        sizes = (packed.source.size_bytes for packed in self.contents)
        if not self.is_archive:
            return sum(sizes)
        return sum(_BLOCK_BYTES + size + padding_bytes(size) for size in sizes) + _END_BYTES


def pack(sources: Sequence[Source], *, max_pieces: int = MAX_PIECES, archive_bytes: int = ARCHIVE_BYTES) -> list[Piece]:
    """The pieces that hold `sources`, at most `max_pieces`: as many files as possible stay as they are.

    Raises: InputError if even archives of a few GB are too many.
    """
    packed = [Packed(name, source) for name, source in zip(_names(sources), sources, strict=True)]
    # What belongs in no folder is the kit's wheel, which is installed before anything can be unpacked.
    loose = [each for each in packed if "/" not in each.source.path]
    by_size = sorted(
        (each for each in packed if "/" in each.source.path),
        key=lambda each: (each.source.size_bytes, each.source.path),
    )
    for num_packed in (0, *range(2, len(by_size) + 1)):
        archives = _archives(by_size[:num_packed], archive_bytes)
        if len(archives) + len(packed) - num_packed <= max_pieces:
            plain = (Piece(file=each.name, contents=(each,)) for each in (*loose, *by_size[num_packed:]))
            return sorted((*plain, *archives), key=lambda piece: piece.contents[0].source.path)
    total_bytes = sum(source.size_bytes for source in sources)
    raise InputError(f"{len(sources)} files of {total_bytes:,} bytes do not fit into {max_pieces} of Kaggle's files")


def header(packed: Packed) -> bytes:
    """The tar header of a member: always the same time, owner and rights."""
    info = tarfile.TarInfo(packed.name)
    info.size = packed.source.size_bytes
    return info.tobuf(tarfile.GNU_FORMAT)  # holds sizes beyond 8 GiB


def padding_bytes(size_bytes: int) -> int:
    """How many zeros follow a member."""
    return -size_bytes % _BLOCK_BYTES


END = bytes(_END_BYTES)
"""What a tar ends with."""


def _archives(packed: Sequence[Packed], archive_bytes: int) -> list[Piece]:
    """Archives of `packed` in the order of their paths, each closed before it grows too large."""
    groups: list[list[Packed]] = []
    filled_bytes = archive_bytes
    for each in sorted(packed, key=lambda each: each.source.path):
        if not groups or filled_bytes + each.source.size_bytes > archive_bytes:
            groups.append([])
            filled_bytes = 0
        groups[-1].append(each)
        filled_bytes += each.source.size_bytes
    return [
        Piece(file=f"packed-{number:02}.bin", contents=tuple(group), is_archive=True)
        for number, group in enumerate(groups)
    ]


def _names(sources: Sequence[Source]) -> list[str]:
    """Flat names, no two alike even where upper and lower case are one."""
    taken: set[str] = set()
    names = []
    for source in sources:
        name = _flat(source.path)
        if name.casefold() in taken or len(name) > _MAX_NAME_CHARACTERS:
            name = f"{name[:40]}-{hashlib.sha256(source.path.encode()).hexdigest()[:12]}-{name[-40:]}"
        taken.add(name.casefold())
        names.append(name)
    return names


def _flat(path: str) -> str:
    """A path as one name of letters that Kaggle keeps and an ending that it does not unpack."""
    name = _UNSAFE.sub("_", path.replace("/", _SEPARATOR))
    return f"{name}.bin" if name.lower().endswith(UNPACKED) else name
