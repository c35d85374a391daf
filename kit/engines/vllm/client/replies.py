"""What a server's reply says: a JSON object, or an error in one of the forms that servers have.

In: status and text. Out: the object, or an error as `kit.engines.vllm.client.faults` knows them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kit.engines.vllm.client.faults import BrokenError, BusyError, RefusedError
from kit.errors import EngineError
from kit.json_text import read_json

JsonObject = Mapping[str, Any]

LEAST_ERROR = 300
"""Of the statuses that are no answer, the lowest."""

_STATUS_DIGITS = 3
_ERROR_WORDS = frozenset({"message", "detail"})
_BROKE = frozenset({408, 409})  # 4xx that do not say "no"
_LATER = frozenset({425, 429, 503, 529})


def json_object(text: str) -> JsonObject:
    """The JSON object that a server answered. Raises: BrokenError for anything else."""
    try:
        data = read_json(text)
    except ValueError as error:
        raise BrokenError(f"the server answered what is no JSON: {text[:200]!r}") from error
    if not isinstance(data, dict):
        raise BrokenError(f"the server answered a {type(data).__name__}, expected a JSON object: {text[:200]!r}")
    return data


def error_of(status: int, text: str, retry_after_s: float | None = None) -> EngineError:
    """What an answer with this status and these words is to the caller: refused, broken or busy."""
    message = f"the server answered {status}: {message_of(text)}"
    if status in _LATER:
        return BusyError(message, status=status, retry_after_s=retry_after_s)
    is_ours = LEAST_ERROR <= status < 500 and status not in _BROKE  # an address that has moved stays so
    return RefusedError(message, status=status) if is_ours else BrokenError(message, status=status)


def message_of(text: str) -> str:
    """The words of an error in OpenAI's form, or the beginning of another."""
    try:
        match read_json(text):
            case {"error": {"message": str(message)}} | {"error": str(message)}:
                return message
            case {"message": str(message)} | {"detail": str(message)}:
                return message
    except ValueError:
        pass
    return text[:500]


def is_error(event: JsonObject) -> bool:
    """Whether it tells of an error, in OpenAI's form, in vLLM's of old (`"object": "error"`), or in FastAPI's."""
    return bool(event.get("error")) or ("choices" not in event and bool(_ERROR_WORDS & event.keys()))


def status_in(data: JsonObject) -> int | None:
    """The status that an error within an answer tells; None if it tells none."""
    match data:
        case {"error": {"code": int(code)}} | {"code": int(code)}:
            return code
        case {"error": {"code": str(code)}} if len(code) == _STATUS_DIGITS and code.isascii() and code.isdigit():
            return int(code)
    return None
