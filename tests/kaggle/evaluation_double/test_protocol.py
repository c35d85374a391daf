"""The wire protocol: field numbers as the real .proto has them, and every payload there and back."""

from __future__ import annotations

import io
import socket
import struct

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal, assert_series_equal

from kit.errors import InputError, KitError
from kit.kaggle.evaluation_double.listening import speaks_http2
from kit.kaggle.evaluation_double.payload import decode, encode
from kit.kaggle.evaluation_double.protocol import SERVICE, Payload, Request, Response

INT64 = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
FLOAT32 = st.floats(width=32, allow_nan=False)
SCALARS = st.none() | st.booleans() | INT64 | FLOAT32 | TEXT
NESTED = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.lists(inner, max_size=4).map(tuple) | st.dictionaries(TEXT, inner, max_size=4)
    ),
    max_leaves=12,
)
COLUMNS = st.fixed_dictionaries(
    {"id": st.lists(TEXT | st.none(), min_size=3, max_size=3), "answer": st.lists(INT64, min_size=3, max_size=3)}
)


def through_the_wire(value: object) -> object:
    """Encode, cross the wire as bytes, decode."""
    return decode(Payload.FromString(encode(value).SerializeToString()))


def same(left: object, right: object) -> bool:
    """Equal in value and in type, all the way down (1 == True == 1.0 in plain Python)."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        assert isinstance(right, dict)
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, (list, tuple)):
        assert isinstance(right, (list, tuple))
        return len(left) == len(right) and all(map(same, left, right))
    return left == right


@given(NESTED)
def test_plain_and_nested_values_return_equal_in_value_and_type(value: object) -> None:
    assert same(through_the_wire(value), value)


@given(st.floats(-1e30, 1e30))
def test_a_float_arrives_rounded_to_32_bits(value: float) -> None:
    assert through_the_wire(value) == struct.unpack("f", struct.pack("f", value))[0]


@given(COLUMNS)
def test_polars_frames_return_equal(columns: dict[str, list[object]]) -> None:
    frame = pl.DataFrame(columns, schema={"id": pl.String, "answer": pl.Int64})
    assert_frame_equal(through_the_wire(frame), frame)


@given(st.lists(INT64 | st.none()), TEXT.filter(bool))
def test_polars_series_return_equal_with_their_name(values: list[int | None], name: str) -> None:
    series = pl.Series(name, values, dtype=pl.Int64)
    assert_series_equal(through_the_wire(series), series)


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.int64, np.uint64, np.float32, np.float64, np.bool_])
def test_numpy_scalars_return_with_their_type(dtype: type[np.generic]) -> None:
    value = through_the_wire(dtype(1))
    assert value == dtype(1)
    assert type(value) is dtype


@pytest.mark.parametrize(
    "value",
    [
        object(),
        b"bytes",
        {1, 2},
        {1: "key"},
        [object()],
        np.str_("text"),
        np.datetime64("2026-01-01"),
        pl.DataFrame({"answer": ["a"]}, schema={"answer": pl.Enum(["a"])}),
        pl.DataFrame({"answer": [2**63]}, schema={"answer": pl.Int128}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_the_real_protocol_refuses_is_refused(value: object) -> None:
    with pytest.raises(InputError):
        encode(value)


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1])
def test_an_int_beyond_64_bits_is_refused(value: int) -> None:
    with pytest.raises(ValueError, match=str(value)):
        encode(value)


def test_nothing_is_unpickled() -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.array([object()], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="allow_pickle"):
        decode(Payload(numpy_scalar_value=buffer.getvalue()))


def test_an_empty_payload_is_a_fault_that_says_so() -> None:
    with pytest.raises(KitError, match="empty payload"):
        decode(Payload())


def test_a_payload_of_a_type_that_only_the_real_side_knows_is_a_fault_that_says_so() -> None:
    with pytest.raises(KitError, match="a type that the double does not know"):
        decode(Payload(pandas_dataframe_value=b""))


def test_the_bytes_on_the_wire_are_those_of_the_published_proto() -> None:
    """Written by hand from kaggle_evaluation.proto: Request{name=1, args=2, kwargs=3}; str 1, sint64 3, none 5."""
    request = Request(name="predict", args=[encode("a"), encode(-1)], kwargs={"k": encode(None)})
    expected = (
        b"\x0a\x07predict"  # field 1: the name
        b"\x12\x03\x0a\x01a"  # field 2: Payload{1: "a"}
        b"\x12\x02\x18\x01"  # field 2: Payload{3: -1}, in zigzag
        b"\x1a\x07\x0a\x01k\x12\x02\x28\x01"  # field 3: {1: "k", 2: Payload{5: true}}
    )
    assert request.SerializeToString() == expected
    assert Response(payload=encode(True)).SerializeToString() == b"\x0a\x02\x10\x01"
    assert Request.DESCRIPTOR.full_name == f"{SERVICE.rpartition('.')[0]}.KaggleEvaluationRequest"


def test_the_payload_fields_have_the_published_numbers() -> None:
    numbers = {field.name: field.number for field in Payload.DESCRIPTOR.oneofs_by_name["value"].fields}
    assert numbers == {
        "str_value": 1,
        "bool_value": 2,
        "int_value": 3,
        "float_value": 4,
        "none_value": 5,
        "list_value": 6,
        "tuple_value": 7,
        "dict_value": 8,
        "pandas_dataframe_value": 9,
        "polars_dataframe_value": 10,
        "pandas_series_value": 11,
        "polars_series_value": 12,
        "numpy_array_value": 13,
        "numpy_scalar_value": 14,
        "bytes_io_value": 15,
    }


def test_a_closed_port_speaks_no_http2() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    assert not speaks_http2(port)


def test_an_open_but_silent_port_speaks_no_http2() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert not speaks_http2(silent.getsockname()[1], patience_s=0.05)
