"""Python values as payloads of the kaggle_evaluation protocol, and back.

In: numbers, text, None, lists, tuples, dicts, polars and pandas frames and series, numpy arrays and scalars,
BytesIO. Out: a `Payload` message. Frames travel as lz4 parquet or Arrow streams, numpy as .npy; nothing is
pickled. What comes back equals what went in, but for a Python float (32 bits on the wire), a pandas index
(dropped) and the name of a nameless series.

Source: kaggle_evaluation/core/{kaggle_evaluation.proto,relay.py} 0.9.0 as read in public repositories: which type
goes into which field, in which format and in which order types are tried.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from kit.errors import InputError
from kit.kaggle.evaluation_double.protocol import Payload, PayloadList, PayloadMap


def encode(value: object) -> Any:
    """The Payload that carries a value.

    Raises: InputError for a type the protocol does not know, ValueError for an int outside 64 bits.
    """
    for codec in _CODECS:
        if codec.matches(value):
            return Payload(**{codec.field: codec.to_wire(value)})
    raise InputError(
        f"a value of type {type(value).__module__}.{type(value).__qualname__} cannot travel between gateway "
        "and server; return a polars or pandas DataFrame of one row"
    )


def decode(payload: Any) -> Any:
    """The value that a Payload carries. Raises: InputError for an empty payload."""
    field = payload.WhichOneof("value")
    if field is None:
        raise InputError("the other side sent an empty payload; are both sides of the same protocol version?")
    return _CODEC_OF_FIELD[field].from_wire(getattr(payload, field))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Codec:
    field: str
    matches: Callable[[Any], bool]
    to_wire: Callable[[Any], Any]
    from_wire: Callable[[Any], Any]


# The first three are refused by the real side, the others by its pyarrow. By name: old polars lacks UInt128.
_BANNED = {"Enum", "Object", "Unknown", "Int128", "UInt128"}


def _is(kind: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, kind)


def _is_pandas(name: str) -> Callable[[Any], bool]:
    """A value can only be of pandas if somebody has imported pandas; so that we need not."""

    def matches(value: Any) -> bool:
        pandas = sys.modules.get("pandas")
        return pandas is not None and isinstance(value, getattr(pandas, name))

    return matches


def _map_to_wire(value: dict[Any, Any]) -> Any:
    strange = [key for key in value if not isinstance(key, str)]
    if strange:
        raise InputError(f"a dict may travel only if every key is a str; found {strange[0]!r}")
    return PayloadMap(payload_map={key: encode(item) for key, item in value.items()})


def _list_to_wire(value: list[Any] | tuple[Any, ...]) -> Any:
    return PayloadList(payloads=[encode(item) for item in value])


def _polars_frame_to_wire(frame: pl.DataFrame) -> bytes:
    banned = _BANNED & {dtype.base_type().__name__ for dtype in frame.dtypes}
    if banned:
        raise InputError(f"a polars frame with columns of {sorted(banned)} cannot travel")
    buffer = io.BytesIO()
    # The oldest layout is what the real side writes, and what every pyarrow reads.
    frame.write_ipc_stream(buffer, compression="lz4", compat_level=pl.CompatLevel.oldest())
    return buffer.getvalue()


def _polars_series_to_wire(series: pl.Series) -> bytes:
    buffer = io.BytesIO()
    series.to_frame().write_parquet(buffer, compression="lz4", statistics=False)
    return buffer.getvalue()


def _pandas_frame_to_wire(frame: Any) -> bytes:
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False, compression="lz4")
    return buffer.getvalue()


def _pandas_frame_from_wire(data: bytes) -> Any:
    import pandas  # only who sends pandas needs pandas

    return pandas.read_parquet(io.BytesIO(data))


def _numpy_to_wire(value: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, value, allow_pickle=False)
    return buffer.getvalue()


def _numpy_scalar_to_wire(value: np.generic) -> bytes:
    if not isinstance(value, (np.number, np.bool_)):
        raise InputError(f"of numpy's scalars only numbers and bools can travel, not {type(value).__name__}")
    return _numpy_to_wire(value)


def _numpy_from_wire(data: bytes) -> Any:
    return np.load(io.BytesIO(data), allow_pickle=False)


# The first match wins: numpy's scalars before the Python numbers they inherit from, bool before int.
_CODECS = (
    _Codec(
        field="numpy_scalar_value",
        matches=_is(np.generic),
        to_wire=_numpy_scalar_to_wire,
        from_wire=lambda data: _numpy_from_wire(data)[()],  # loaded as an array without dimensions
    ),
    _Codec(field="str_value", matches=_is(str), to_wire=str, from_wire=str),
    _Codec(field="bool_value", matches=_is(bool), to_wire=bool, from_wire=bool),
    _Codec(field="int_value", matches=_is(int), to_wire=int, from_wire=int),
    _Codec(field="float_value", matches=_is(float), to_wire=float, from_wire=float),
    _Codec(field="none_value", matches=_is(type(None)), to_wire=lambda _: True, from_wire=lambda _: None),
    _Codec(
        field="list_value",
        matches=_is(list),
        to_wire=_list_to_wire,
        from_wire=lambda wire: [decode(item) for item in wire.payloads],
    ),
    _Codec(
        field="tuple_value",
        matches=_is(tuple),
        to_wire=_list_to_wire,
        from_wire=lambda wire: tuple(decode(item) for item in wire.payloads),
    ),
    _Codec(
        field="dict_value",
        matches=_is(dict),
        to_wire=_map_to_wire,
        from_wire=lambda wire: {key: decode(item) for key, item in wire.payload_map.items()},
    ),
    _Codec(
        field="pandas_dataframe_value",
        matches=_is_pandas("DataFrame"),
        to_wire=_pandas_frame_to_wire,
        from_wire=_pandas_frame_from_wire,
    ),
    _Codec(
        field="polars_dataframe_value",
        matches=_is(pl.DataFrame),
        to_wire=_polars_frame_to_wire,
        from_wire=lambda data: pl.read_ipc_stream(io.BytesIO(data)),
    ),
    _Codec(
        field="pandas_series_value",
        matches=_is_pandas("Series"),
        to_wire=lambda series: _pandas_frame_to_wire(series.to_frame()),
        from_wire=lambda data: _pandas_frame_from_wire(data).iloc[:, 0],
    ),
    _Codec(
        field="polars_series_value",
        matches=_is(pl.Series),
        to_wire=_polars_series_to_wire,
        from_wire=lambda data: pl.read_parquet(io.BytesIO(data)).to_series(),
    ),
    _Codec(field="numpy_array_value", matches=_is(np.ndarray), to_wire=_numpy_to_wire, from_wire=_numpy_from_wire),
    _Codec(
        field="bytes_io_value",
        matches=_is(io.BytesIO),
        to_wire=lambda buffer: buffer.getvalue(),
        from_wire=io.BytesIO,
    ),
)
_CODEC_OF_FIELD = {codec.field: codec for codec in _CODECS}
