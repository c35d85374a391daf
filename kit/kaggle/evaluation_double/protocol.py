"""The wire protocol of kaggle_evaluation 0.9: what the gateway and the inference server say to each other.

Out: the message classes of the service `kaggle_evaluation_client.KaggleEvaluationService`, method `Send`; the
ports, channel options and limits that both sides share.

Not here: values as payloads (`payload`), who is there (`listening`), who listens (`server`), who asks (`gateway`). The
descriptors are built at run time in a private pool, so this module needs no generated code and lives beside
the real package in one process.

Source: kaggle_evaluation/core/{kaggle_evaluation.proto,relay.py} 0.9.0 as read in public repositories (field
numbers, types, encodings and options are facts of the protocol; no code of it is used).
"""

from __future__ import annotations

import json
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from kit.errors import KitError

SERVICE = "kaggle_evaluation_client.KaggleEvaluationService"
METHOD = "Send"

_RETRY_POLICY = {
    "maxAttempts": 5,
    "initialBackoff": "0.1s",
    "maxBackoff": "1s",
    "backoffMultiplier": 1,
    "retryableStatusCodes": ["UNAVAILABLE"],
}
CHANNEL_OPTIONS: tuple[tuple[str, int | str], ...] = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
    ("grpc.service_config", json.dumps({"methodConfig": [{"name": [{}], "retryPolicy": _RETRY_POLICY}]})),
)


class StaleServerError(KitError, RuntimeError):
    """Another server listens where the gateway asks first, and would answer in place of the new one."""


# --- Messages -------------------------------------------------------------------------------------

_PACKAGE = SERVICE.rpartition(".")[0]
_Field = descriptor_pb2.FieldDescriptorProto
# The oneof `value` of Payload; a field's number is its place here, from 1.
_PAYLOAD_FIELDS: tuple[tuple[str, int | str], ...] = (
    ("str_value", _Field.TYPE_STRING),
    ("bool_value", _Field.TYPE_BOOL),
    ("int_value", _Field.TYPE_SINT64),
    ("float_value", _Field.TYPE_FLOAT),  # 32 bits: a Python float arrives rounded
    ("none_value", _Field.TYPE_BOOL),
    ("list_value", "PayloadList"),
    ("tuple_value", "PayloadList"),
    ("dict_value", "PayloadMap"),
    ("pandas_dataframe_value", _Field.TYPE_BYTES),
    ("polars_dataframe_value", _Field.TYPE_BYTES),
    ("pandas_series_value", _Field.TYPE_BYTES),
    ("polars_series_value", _Field.TYPE_BYTES),
    ("numpy_array_value", _Field.TYPE_BYTES),
    ("numpy_scalar_value", _Field.TYPE_BYTES),
    ("bytes_io_value", _Field.TYPE_BYTES),
)


def _add_field(
    message: Any, name: str, number: int, kind: int | str, *, repeated: bool = False, oneof: bool = False
) -> None:
    """Append one field; a `kind` that is text names a message of this package."""
    field = message.field.add(name=name, number=number)
    field.label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
    if isinstance(kind, str):
        field.type = _Field.TYPE_MESSAGE
        field.type_name = f".{_PACKAGE}.{kind}"
    else:
        field.type = kind
    if oneof:
        field.oneof_index = 0


def _add_map(message: Any, name: str, number: int) -> None:
    """Append `map<string, Payload>`, which on the wire is a repeated nested message of key and value."""
    entry_name = f"{name.title().replace('_', '')}Entry"  # protobuf prescribes this name
    entry = message.nested_type.add(name=entry_name)
    entry.options.map_entry = True
    _add_field(entry, "key", 1, _Field.TYPE_STRING)
    _add_field(entry, "value", 2, "Payload")
    _add_field(message, name, number, f"{message.name}.{entry_name}", repeated=True)


def _message_classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="kit_kaggle.proto", package=_PACKAGE, syntax="proto3")
    request = file.message_type.add(name="KaggleEvaluationRequest")
    _add_field(request, "name", 1, _Field.TYPE_STRING)
    _add_field(request, "args", 2, "Payload", repeated=True)
    _add_map(request, "kwargs", 3)
    response = file.message_type.add(name="KaggleEvaluationResponse")
    _add_field(response, "payload", 1, "Payload")
    payload = file.message_type.add(name="Payload")
    payload.oneof_decl.add(name="value")
    for number, (name, kind) in enumerate(_PAYLOAD_FIELDS, start=1):
        _add_field(payload, name, number, kind, oneof=True)
    _add_field(file.message_type.add(name="PayloadList"), "payloads", 1, "Payload", repeated=True)
    _add_map(file.message_type.add(name="PayloadMap"), "payload_map", 1)

    pool = descriptor_pool.DescriptorPool()  # private: the default pool may hold the real package's messages
    pool.AddSerializedFile(file.SerializeToString())
    names = [message.name for message in file.message_type]
    descriptors = {name: pool.FindMessageTypeByName(f"{_PACKAGE}.{name}") for name in names}
    return {name: message_factory.GetMessageClass(found) for name, found in descriptors.items()}


_CLASSES = _message_classes()
Request: Any = _CLASSES["KaggleEvaluationRequest"]
Response: Any = _CLASSES["KaggleEvaluationResponse"]
Payload: Any = _CLASSES["Payload"]
PayloadList: Any = _CLASSES["PayloadList"]
PayloadMap: Any = _CLASSES["PayloadMap"]
