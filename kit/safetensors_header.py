"""The header of a safetensors file: which tensors it holds and where; reads nothing else.

Source of the format: https://huggingface.co/docs/safetensors/index#format
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from kit.errors import InputError
from kit.json_text import read_json

MAX_HEADER_BYTES = 100_000_000  # the format's own limit


class Header(NamedTuple):
    """tensors: by name, each with dtype, shape and data_offsets. data_begins: bytes before the first of them."""

    tensors: dict[str, dict[str, Any]]
    data_begins: int

    @property
    def file_bytes(self) -> int:
        """How long the whole file is."""
        return self.data_begins + max((entry["data_offsets"][1] for entry in self.tensors.values()), default=0)


def read_header(path: Path) -> Header:
    """Raises: InputError for a file whose header cannot be read."""
    size = path.stat().st_size
    with path.open("rb") as file:
        header_bytes = int.from_bytes(file.read(8), "little")
        if not 2 <= header_bytes <= min(MAX_HEADER_BYTES, max(0, size - 8)):
            raise InputError(
                f"{path} is no whole safetensors file: {size} bytes, its header claims {header_bytes}; "
                "copy it again (a file this small may be a Git LFS pointer)"
            )
        text = file.read(header_bytes)
    try:
        entries = read_json(text).items()
        header = Header({name: entry for name, entry in entries if name != "__metadata__"}, 8 + header_bytes)
        _ = header.file_bytes  # every entry must tell where it lies
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise InputError(f"{path} has a damaged safetensors header ({error!r}); copy it again") from error
    return header
