"""Parquet and Arrow files from outside, read within limits: both can be packed so that a small file fills any memory."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from itrcore import limits
from itrcore.files import WrongKind
from itrcore.thrift import read_struct

_MAGIC = 8  # bytes before an Arrow file's stream
_PACKED_AS = {0, 1}  # not at all, and Snappy, as pyarrow writes by itself; Snappy reaches 21 to 1 at best


def read_parquet(path: Path, schema: pa.Schema) -> pa.Table:
    """The columns of a schema. `WrongKind` for more rows or bytes than `itrcore/limits.py` allows, else Arrow's own errors."""
    texts = [field.name for field in schema if pa.types.is_string(field.type)]
    _check_footer(path)
    with pq.ParquetFile(path, read_dictionary=texts, page_checksum_verification=True) as file:
        types = {field.name: getattr(field.type, "value_type", field.type) for field in file.schema_arrow}
        if other := [field.name for field in schema if types.get(field.name) != field.type]:
            raise WrongKind(f"no column {other[0]} of {schema.field(other[0]).type}", f"{', '.join(schema.names)}")
        # Texts stay as they are stored, each once: a text that is repeated takes no room in the file.
        table = file.read(schema.names, use_threads=False)
    allowed = limits.unpacked(path.stat().st_size, limits.TEXT)
    for name in texts:
        size = sum(_text_bytes(part) for part in table[name].chunks)
        if size > allowed:
            raise WrongKind(f"its column {name} unpacks to {size:,} bytes", f"at most {allowed:,}")
    table = table.select(schema.names).cast(schema)
    table.validate(full=True)  # that texts are UTF-8
    return table


def _check_footer(path: Path) -> None:
    """`WrongKind` for very many rows, and for columns that are packed so that they may unpack to anything."""
    with open(path, "rb") as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(max(size - 8, 0))
        length, magic = struct.unpack("<I4s", file.read(8).rjust(8, b"\0"))
        if magic != b"PAR1" or not 0 < length <= min(limits.FOOTER, size - 8):
            raise WrongKind("no Parquet file", f"one with a footer of at most {limits.FOOTER:,} bytes")
        file.seek(size - 8 - length)
        footer = read_struct(file.read(length))
    try:  # numbers of fields as in parquet.thrift
        rows = sum(group[3] for group in footer[4])
        kinds = {column[3][4] for group in footer[4] for column in group[1]}
    except (KeyError, TypeError) as error:
        raise WrongKind("its footer is malformed", "a Parquet file") from error
    if rows > limits.ROWS:
        raise WrongKind(f"it has {rows:,} rows", f"at most {limits.ROWS:,}")
    if not kinds <= _PACKED_AS:
        raise WrongKind("its columns are packed", "plain columns, or ones packed with Snappy")


def _text_bytes(part: pa.Array) -> int:
    if isinstance(part, pa.DictionaryArray):
        return int(pc.sum(pc.take(pc.binary_length(part.dictionary), part.indices)).as_py() or 0)
    return int(part.nbytes)


def read_arrow(data: pa.Buffer, schema: pa.Schema) -> pa.Table:
    """The table in the bytes of an Arrow file, validated in full. `WrongKind` where its columns are others or it is packed.

    Without the whole of Arrow's validation, offsets of a malformed column would be followed out of the file.

    It is read from front to end, as it was written. The list of places at its end, by which Arrow would read it, may name
    other bytes than those that were looked at here.
    """
    stream = data.slice(_MAGIC)
    if data.size < _MAGIC or data.slice(0, _MAGIC).to_pybytes() != b"ARROW1\0\0":
        raise WrongKind("it is malformed (no Arrow file)", "an Arrow file")
    for message in pa.ipc.MessageReader.open_stream(stream):
        plain = message.type == "schema" or (message.type == "record batch" and not _is_packed(message.metadata))
        if not plain:
            raise WrongKind("its columns are packed", "an Arrow file of plain columns")
    with pa.ipc.open_stream(stream) as reader:
        if not reader.schema.equals(schema):
            columns = ", ".join(f"{field.name} ({field.type})" for field in reader.schema)
            raise WrongKind(f"it has the columns {columns[:200]}", f"{', '.join(schema.names)}, of their types")
        table: pa.Table = reader.read_all()
    table.validate(full=True)
    return table


def _is_packed(metadata: pa.Buffer) -> bool:
    """Whether a record batch has the field `compression` (Arrow's Message.fbs); Arrow has verified the bytes."""
    data = metadata.to_pybytes()
    header = _fields(data, struct.unpack_from("<I", data)[0])[2]
    batch = _fields(data, header + struct.unpack_from("<I", data, header)[0])
    return batch[3] != 0


def _fields(data: bytes, start: int) -> list[int]:
    """Where each of a flatbuffer table's first fields lies; 0 for one that is not there."""
    directory = start - struct.unpack_from("<i", data, start)[0]
    size = struct.unpack_from("<H", data, directory)[0]
    offsets = [struct.unpack_from("<H", data, directory + at)[0] if at < size else 0 for at in range(4, 12, 2)]
    return [start + offset if offset else 0 for offset in offsets]
