"""Thrift's compact protocol, read: what a Parquet file's footer says, before Parquet's own reader acts by it.

pyarrow's access to single entries of a footer ends the process where one is malformed, so it cannot be used to look.
Source: thrift/doc/specs/thrift-compact-protocol.md in Thrift's repository.
"""

from __future__ import annotations

import io
from typing import Any

_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = 1, 2, 3, 7, 8, 9, 10, 11, 12


def read_struct(data: bytes) -> dict[int, Any]:
    """The fields of the struct that the bytes begin with: number → value; structs are dictionaries, lists and sets lists.

    `ValueError` where it is none.
    """
    try:
        return _struct(io.BytesIO(data))
    except (IndexError, RecursionError) as error:
        raise ValueError("it is malformed") from error


def _struct(stream: io.BytesIO) -> dict[int, Any]:
    fields: dict[int, Any] = {}
    number = 0
    while head := stream.read(1)[0]:
        number = number + (head >> 4) if head >> 4 else _zigzag(stream)
        kind = head & 15
        fields[number] = kind == _TRUE if kind in (_TRUE, _FALSE) else _value(stream, kind)
    return fields


def _value(stream: io.BytesIO, kind: int) -> Any:
    if kind in (_TRUE, _FALSE, _BYTE):  # inside a list a truth value is a byte of its own
        return stream.read(1)[0]
    if kind < _DOUBLE:
        return _zigzag(stream)
    if kind == _DOUBLE:
        return _bytes(stream, 8)
    if kind == _BINARY:
        return _bytes(stream, _varint(stream))
    if kind in (_LIST, _SET):
        head = stream.read(1)[0]
        return [_value(stream, head & 15) for _ in range(_varint(stream) if head >> 4 == 15 else head >> 4)]
    if kind == _MAP:
        size = _varint(stream)
        kinds = stream.read(1)[0] if size else 0
        return [(_value(stream, kinds >> 4), _value(stream, kinds & 15)) for _ in range(size)]
    if kind == _STRUCT:
        return _struct(stream)
    raise ValueError(f"no kind of value has the number {kind}")


def _bytes(stream: io.BytesIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise ValueError("it ends too early")
    return data


def _varint(stream: io.BytesIO) -> int:
    value = shift = 0
    while (byte := stream.read(1)[0]) & 128:
        value |= (byte & 127) << shift
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than 64 bits")
    return value | byte << shift


def _zigzag(stream: io.BytesIO) -> int:
    value = _varint(stream)
    return value >> 1 ^ -(value & 1)
