"""Values as payloads of the kaggle_evaluation protocol, and back: what the gateway sends, what a `predict` may return.

In: numbers, text, None, lists, tuples, dicts, numpy's scalars, polars frames and series. Out: a `Payload` message.
Frames travel as Arrow streams, series as parquet, both in lz4; numpy's scalars as .npy; nothing is pickled. What comes
back equals what went in, but for a Python float (32 bits on the wire) and the name of a nameless series.

Not here, though the real protocol has them: pandas' frames, numpy's arrays and BytesIO, which neither the gateway of
AIMO3 nor the kit's `predict` sends.

Source: kaggle_evaluation/core/{kaggle_evaluation.proto,relay.py} 0.9.0 as read in public repositories: which type
goes into which field, in which format and in which order types are tried.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from kit.errors import InputError
from kit.kaggle.evaluation_double.protocol import Payload, PayloadList, PayloadMap

# The first three are refused by the real side, the others by its pyarrow. By name: old polars lacks UInt128.
_BANNED = {"Enum", "Object", "Unknown", "Int128", "UInt128"}


def encode(value: object) -> Any:
    """The Payload that carries a value.

    Raises: InputError for a type that does not travel, ValueError for an int outside 64 bits.
    """
    for field, codec in _CODECS.items():
        if isinstance(value, codec.kind):
            return Payload(**{field: codec.to_wire(value)})
    raise InputError(
        f"a value of type {type(value).__module__}.{type(value).__qualname__} cannot travel between gateway "
        "and server; return a polars DataFrame of one row"
    )


def decode(payload: Any) -> Any:
    """The value that a Payload carries. Raises: InputError for an empty payload, or one of a type not known here."""
    field = payload.WhichOneof("value")
    if field not in _CODECS:
        raise InputError("the other side sent an empty payload, or a type that the double does not know; send polars")
    return _CODECS[field].from_wire(getattr(payload, field))


class _Codec(NamedTuple):
    kind: type
    to_wire: Callable[[Any], Any]
    from_wire: Callable[[Any], Any]


def _scalar_to_wire(value: np.generic) -> bytes:
    if not isinstance(value, (np.number, np.bool_)):
        raise InputError(f"of numpy's scalars only numbers and bools can travel, not {type(value).__name__}")
    return _buffered(lambda buffer: np.save(buffer, value, allow_pickle=False))


def _list_to_wire(value: list[Any] | tuple[Any, ...]) -> Any:
    return PayloadList(payloads=[encode(item) for item in value])


def _map_to_wire(value: dict[Any, Any]) -> Any:
    strange = [key for key in value if not isinstance(key, str)]
    if strange:
        raise InputError(f"a dict may travel only if every key is a str; found {strange[0]!r}")
    return PayloadMap(payload_map={key: encode(item) for key, item in value.items()})


def _frame_to_wire(frame: pl.DataFrame) -> bytes:
    banned = _BANNED & {dtype.base_type().__name__ for dtype in frame.dtypes}
    if banned:
        raise InputError(f"a polars frame with columns of {sorted(banned)} cannot travel")
    # The oldest layout is what the real side writes, and what every pyarrow reads.
    oldest = pl.CompatLevel.oldest()
    return _buffered(lambda buffer: frame.write_ipc_stream(buffer, compression="lz4", compat_level=oldest))


def _series_to_wire(series: pl.Series) -> bytes:
    return _buffered(lambda buffer: series.to_frame().write_parquet(buffer, compression="lz4", statistics=False))


def _buffered(write: Callable[[io.BytesIO], object]) -> bytes:
    buffer = io.BytesIO()
    write(buffer)
    return buffer.getvalue()


# By field. The first match wins: numpy's scalars before the Python numbers they inherit from, bool before int.
_CODECS = {
    # a scalar is loaded as an array without dimensions
    "numpy_scalar_value": _Codec(
        np.generic, _scalar_to_wire, lambda data: np.load(io.BytesIO(data), allow_pickle=False)[()]
    ),
    "str_value": _Codec(str, str, str),
    "bool_value": _Codec(bool, bool, bool),
    "int_value": _Codec(int, int, int),
    "float_value": _Codec(float, float, float),
    "none_value": _Codec(type(None), lambda _: True, lambda _: None),
    "list_value": _Codec(list, _list_to_wire, lambda wire: list(map(decode, wire.payloads))),
    "tuple_value": _Codec(tuple, _list_to_wire, lambda wire: tuple(map(decode, wire.payloads))),
    "dict_value": _Codec(
        dict, _map_to_wire, lambda wire: {key: decode(each) for key, each in wire.payload_map.items()}
    ),
    "polars_dataframe_value": _Codec(pl.DataFrame, _frame_to_wire, lambda data: pl.read_ipc_stream(io.BytesIO(data))),
    "polars_series_value": _Codec(
        pl.Series, _series_to_wire, lambda data: pl.read_parquet(io.BytesIO(data)).to_series()
    ),
}
