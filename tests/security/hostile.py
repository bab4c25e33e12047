"""Files as somebody would make them who wants a reader to run code, to fill the memory, to loop, or to fall over."""

from __future__ import annotations

import base64
import gzip
import io
import json
import pickle
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

from itrcore import limits

DEEP = b"[" * 1_000_000
GIGABYTES = 1 << 40

# What may stand anywhere in a JSON file: raw text of a value.
JSON_VALUES = {
    "deep lists": DEEP,
    "deep and whole": b"[" * 500 + b"]" * 500,
    "deep objects": b'{"a":' * 200_000,
    "digits": b"9" * 5000,
    "negative digits": b"-" + b"1" * 5000,
    "more than 64 bits": b"1" + b"0" * 30,
    "NaN": b"NaN",
    "infinity": b"-Infinity",
    "1e999": b"1e999",
    "a key twice": b'{"a": 1, "a": 2}',
    "half a character": b'"\\ud800"',
    "not UTF-8": b'"\xff\xfe"',
    "cut": b'{"a',
}
# Whole files that are no JSON object.
JSON_FILES = {
    "empty": b"",
    "spaces": b" \n",
    "NUL": b"\0" * 100,
    "a list": b"[]",
    "a number": b"5",
    "a text": b'"text"',
    "null": b"null",
    "UTF-16": "{}".encode("utf-16"),
    "two objects": b"{} {}",
    "HTML": b"<!doctype html><html></html>",
}


def json_files(valid: bytes = b"{}") -> Iterator[tuple[str, bytes]]:
    """Every hostile JSON file; values stand in an object that would be right without them."""
    yield from JSON_FILES.items()
    opened = valid.rstrip()[:-1] + (b"," if len(valid) > 2 else b"")
    for name, value in JSON_VALUES.items():
        yield name, opened + b'"zz": ' + value + b"}"
        yield f"{name}, alone", value


YAML_FILES = {
    "billion laughs": "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
    + "".join(f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10)),
    "billion merges": "a0: &a0 {x: 1}\n"
    + "".join(f"a{i}: &a{i}\n  <<: [{','.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10)),
    "holds itself": "a: &a [*a]",
    "deep": "a: " + "[" * 100_000,
    "deep and whole": "a: " + "[" * 200 + "]" * 200,
    "deep and spaced": "a: " + "[ \n " * 2_000,
    "deep blocks": "\n".join(" " * i + "a:" for i in range(400)),
    "code": "a: !!python/object/apply:os.system ['touch ran']",
    "a tag": "a: !foo x",
    "digits": "a: " + "9" * 5000,
    "hexadecimal digits": "a: 0x" + "f" * 5000,
    "no date": "a: 2001-99-99",
    "no time zone": "a: 2001-01-01T00:00:00+99:99",
    "no number": "a: !!int x",
    "no truth": "a: !!bool perhaps",
    "bytes": "a: !!binary AAAA",
    "half a character": 'a: "\\ud800"',
    "beyond Unicode": 'a: "\\U00110000"',
    "infinity": "a: .inf",
    "1e999": "a: 1e999",
    "a key twice": "a: 1\na: 2",
    "keys of lists": "? [1, 2]\n: 3",
    "two documents": "---\na: 1\n---\nb: 2",
    "NUL": "a: \0",
    "a list": "[]",
    "empty": "",
    "too large": "a: " + "x" * limits.YAML,
}


@cache
def zeros_gz(megabytes: int = 4000) -> bytes:
    """A gzip file of zeros, of about a thousandth of what it unpacks to. Made of one block's bytes again and again."""
    return _deflated(b"\0" * (1 << 20), megabytes)


@cache
def lines_gz(line: bytes, megabytes: int = 1000) -> bytes:
    return _deflated(line * (1_000_000 // len(line)), megabytes)


def _deflated(block: bytes, times: int) -> bytes:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    first = deflate.compress(block) + deflate.flush(zlib.Z_FULL_FLUSH)
    last = zlib.compressobj(9, zlib.DEFLATED, -15).flush()
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + first * times + last + struct.pack("<II", 0, 0)


def zip_bomb(name: str, megabytes: int = 2000) -> bytes:
    """A zip file whose one entry announces, and has, as many zeros."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = deflate.compress(b"\0" * (1 << 20)) + deflate.flush(zlib.Z_FULL_FLUSH)
    data = block * megabytes + zlib.compressobj(9, zlib.DEFLATED, -15).flush()
    size, raw = megabytes << 20, name.encode()
    fields = struct.pack("<HHHHHIIIHH", 20, 0, 8, 0, 33, 0, len(data), size, len(raw), 0)
    local = b"PK\3\4" + fields + raw
    central = b"PK\1\2" + struct.pack("<H", 20) + fields + struct.pack("<HHHII", 0, 0, 0, 0, 0) + raw
    end = b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(central), len(local) + len(data), 0)
    return local + data + central + end


def header(kind: bytes, size: int, name: str = "a") -> bytes:
    """One header of a tar file, whatever it says."""
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT)


def _summed(header: bytearray) -> bytes:
    """The header with the check sum that fits it."""
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def pax(entries: dict[str, str], size: int | None = None) -> bytes:
    body = b"".join(_pax_line(key, value) for key, value in entries.items())
    return header(tarfile.XHDTYPE, len(body) if size is None else size, "pax") + body.ljust(
        -(-len(body) // 512) * 512, b"\0"
    )


def _pax_line(key: str, value: str) -> bytes:
    rest = f" {key}={value}\n".encode()
    length = len(rest) + len(str(len(rest) + 3))
    return str(length).encode() + rest


def tar_files() -> dict[str, bytes]:
    """Tar files that make Python's reader loop, allocate, or hand out what is not there."""
    plain = header(tarfile.REGTYPE, 0)
    sparse10 = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "a", "GNU.sparse.realsize": "1"}
    old_sparse = bytearray(header(tarfile.GNUTYPE_SPARSE, 512))
    old_sparse[482] = 1  # goes on in another header, which is not there
    return {
        "a sparse map without an end": pax(sparse10) + header(tarfile.REGTYPE, 512) + b"9" * 512,
        "a sparse map of a million places": pax(sparse10)
        + header(tarfile.REGTYPE, 512)
        + b"1000000\n".ljust(512, b"0"),
        "a sparse map of text": pax({"GNU.sparse.map": "a,b", "GNU.sparse.size": "1"}) + plain,
        "a sparse map of digits": pax({"GNU.sparse.map": "9" * 5000, "GNU.sparse.size": "1"}) + plain,
        "a sparse petabyte": pax({"GNU.sparse.map": "0,1", "GNU.sparse.size": str(1 << 50)})
        + header(tarfile.REGTYPE, 1),
        "an old sparse file": _summed(old_sparse),
        "a negative size": header(tarfile.REGTYPE, -512) + bytes(1024),
        "a negative size in pax": pax({"size": "-1024"}) + plain + bytes(1024),
        "a size of digits": pax({"size": "9" * 5000}) + plain + bytes(1024),
        "a header of gigabytes": header(tarfile.XHDTYPE, 8 << 30) + bytes(512),
        "a name of gigabytes": header(tarfile.GNUTYPE_LONGNAME, 8 << 30) + bytes(512),
        "a header of digits": header(tarfile.XHDTYPE, 1 << 20, "pax") + b"1" * (1 << 20) + plain,
        "headers of headers": pax({"path": "a"}) * 5000 + plain,
        "a member of petabytes": header(tarfile.REGTYPE, 1 << 50) + bytes(1024),
        "cut": header(tarfile.REGTYPE, 4096) + bytes(100),
        "a link": header(tarfile.SYMTYPE, 0) + bytes(1024),
        "a hard link": header(tarfile.LNKTYPE, 0) + bytes(1024),
        "a device": header(tarfile.CHRTYPE, 0) + bytes(1024),
        "above": header(tarfile.REGTYPE, 0, "../evil") + bytes(1024),
        "absolute": header(tarfile.REGTYPE, 0, "/tmp/evil") + bytes(1024),
        "a name of 300 bytes": pax({"path": "n" * 300}) + plain + bytes(1024),
        "a name of no text": _summed(bytearray(header(tarfile.REGTYPE, 0).replace(b"a\0", b"\xff\0", 1))) + bytes(1024),
        "nothing": b"",
        "noise": bytes(range(256)) * 8,
    }


def packed_tar(megabytes: int = 2000) -> bytes:
    """A .tar.gz with one member of as many zeros."""
    start = gzip.compress(header(tarfile.REGTYPE, megabytes << 20))
    return start + zeros_gz(megabytes)


def zip_files() -> dict[str, bytes]:
    def of(name: str, **changes: Any) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            info = zipfile.ZipInfo(name)
            for key, value in changes.items():
                setattr(info, key, value)
            archive.writestr(info, b"x")
        return buffer.getvalue()

    plain = of("punkt_tab/english/a.txt")
    end = plain.rfind(b"PK\5\6")
    return {
        "above": of("../evil"),
        "absolute": of("/tmp/evil"),
        "a drive": of("C:\\evil"),
        "a link": of("a", external_attr=0o120777 << 16),
        "a name of 300 bytes": of("n" * 300),
        "zeros": zip_bomb("a.txt", 200),
        "cut": plain[: len(plain) // 2],
        "a directory elsewhere": plain[: end + 16] + struct.pack("<I", 1 << 31) + plain[end + 20 :],
        "an unknown packing": plain.replace(b"PK\1\2\x14\3\x14\0\0\0\0\0", b"PK\1\2\x14\3\x14\0\0\0\x63\0"),
        "encrypted": plain.replace(b"PK\1\2\x14\3\x14\0\0\0", b"PK\1\2\x14\3\x14\0\1\0"),
        "a name of no text": plain.replace(b"PK\1\2\x14\3\x14\0\0\0", b"PK\1\2\x14\3\x14\0\0\x08").replace(
            b"a.txt", b"\xff.txt"
        ),
        "another CRC": plain.replace(struct.pack("<I", zlib.crc32(b"x")), b"\1\2\3\4"),
    }


class _Code:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return open, ("ran", "w")  # type: ignore[return-value]


def npy_files() -> dict[str, bytes]:
    def of(text: str, data: bytes = b"", version: int = 1) -> bytes:
        line = text.encode() + b"\n"
        return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(line)) + line + data

    def shaped(shape: str, descr: str = "'<f4'") -> bytes:
        return of(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}")

    objects = io.BytesIO()
    np.save(objects, np.array([_Code()], object), allow_pickle=True)
    return {
        "petabytes": shaped("(1125899906842624,)"),
        "a product beyond 64 bits": shaped("(4294967296, 4294967296)"),
        "a product of 64 bits that is 0": shaped("(9223372036854775808, 2)"),
        "no rows of very many": shaped("(0, 1000000000000000000000000000000)"),
        "negative": shaped("(-1,)"),
        "digits": shaped("(" + "9" * 5000 + ",)"),
        "deep": of("(" * 5000),
        "code": of("__import__('os').system('touch ran')"),
        "objects": shaped("(1,)", "'|O'") + pickle.dumps([_Code()]),
        "saved objects": objects.getvalue(),
        "objects inside": shaped("(1,)", "[('a', '|O')]"),
        "no size": shaped("(5,)", "'|V0'"),
        "a header of gigabytes": b"\x93NUMPY\2\0" + struct.pack("<I", 0xFFFFFFF0) + b"{}",
        "another version": b"\x93NUMPY\x09\0" + b"\x10\0{}",
        "a pickle": pickle.dumps(_Code()),
        "a zip": zip_bomb("a.npy", 200),
        "empty": b"",
        "text": b"1 2 3",
    }


def torch_files() -> dict[str, bytes]:
    def saved(content: Any, **options: Any) -> bytes:
        buffer = io.BytesIO()
        torch.save(content, buffer, **options)
        return buffer.getvalue()

    def packed(data: bytes) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new:
            for entry in old.infolist():
                new.writestr(entry.filename, old.read(entry))
        return buffer.getvalue()

    weight = torch.zeros(1)
    huge = {"a.weight": weight.expand(1 << 40)}
    many = {f"{i}.weight": torch.zeros(1).expand(1) for i in range(3)}
    shared = torch.zeros(1 << 18)
    tensors = {str(i): shared for i in range(20_000)}
    return {
        "packed": packed(saved({"epoch": 1, "model": [{"a": torch.zeros(1 << 24)}]})),
        "a weight of terabytes": saved({"epoch": 1, "model": [huge]}),
        "a base of terabytes": saved({"base": huge, "top": many}),
        "one weight very often": saved({"epoch": 1, "model": [tensors]}),
        "code": saved({"epoch": 1, "model": [{"a": weight}], "x": _Code()}),
        "code in the old form": saved({"model": [{}], "x": _Code()}, _use_new_zipfile_serialization=False),
        "a pickle": pickle.dumps(_Code()),
        "a deep pickle": b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
        "a tensor of petabytes": saved({"model": [{"a": torch.empty(1 << 50, device="meta")}]}),
        "a sparse tensor": saved(
            {"model": [{"a": torch.sparse_coo_tensor([[0]], [1.0], (1 << 40,), check_invariants=False)}]}
        ),
        **{f"a tar, {name}": data for name, data in tar_files().items()},
        "a zip": zip_bomb("archive/data.pkl", 200),
        "a cut zip": saved({"model": []})[:-30],
        "HTML": b"<!doctype html>",
        "JSON": b"{}",
        "a pointer": b"version https://git-lfs.github.com/spec/v1\n",
        "empty": b"",
        "noise": bytes(range(256)) * 8,
    }


def safetensors_files() -> dict[str, bytes]:
    def of(text: bytes, size: int | None = None) -> bytes:
        return struct.pack("<Q", len(text) if size is None else size) + text

    def tensor(**changes: Any) -> bytes:
        return of(
            json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4], **changes}}).encode()
        ) + bytes(4)

    return {
        "a header of exabytes": of(b"{}", 1 << 62),
        "a header of gigabytes": of(b"{}", 8 << 30),
        "petabytes": tensor(shape=[1 << 48], data_offsets=[0, 1 << 50]),
        "a product beyond 64 bits": tensor(shape=[1 << 62, 1 << 62]),
        "backwards": tensor(data_offsets=[4, 0]),
        "deep": of(DEEP),
        "digits": of(b'{"a": ' + b"9" * 5000 + b"}"),
        "not UTF-8": of(b'{"\xff": 1}'),
        "a number as metadata": of(b'{"__metadata__": {"source": 1}}'),
        "deep metadata": of(
            json.dumps({"__metadata__": {"source": "[" * 100_000, "param_groups": "[" * 100_000}}).encode()
        ),
        "no metadata": of(b"{}"),
        "a pickle": pickle.dumps(_Code()),
        "empty": b"",
    }


SCHEMA_BOMB = 5000  # characters of a text that stands in a column again and again


def parquet_files(schema: pa.Schema) -> dict[str, bytes]:
    def written(table: pa.Table, **options: Any) -> bytes:
        buffer = io.BytesIO()
        pq.write_table(table, buffer, **options)
        return buffer.getvalue()

    def rows(count: int, text: str) -> pa.Table:
        columns = [
            pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), [text])
            if pa.types.is_string(field.type)
            else pa.array(np.zeros(count, np.int64)).cast(field.type)
            for field in schema
        ]
        return pa.table(columns, schema.names)

    def not_utf8(field: pa.Field) -> pa.Array:
        if not pa.types.is_string(field.type):
            return pa.array([0], field.type)
        return pa.Array.from_buffers(
            field.type, 1, [None, pa.py_buffer(struct.pack("<ii", 0, 2)), pa.py_buffer(b"\xff\xfe")]
        )

    plain = written(rows(3, "a"))
    return {
        "gigabytes of one text": written(rows(1_000_000, "x" * SCHEMA_BOMB)),
        "very many rows": written(rows(limits.ROWS + 1, "a"), row_group_size=1 << 30),
        "packed as zstd": written(rows(3, "x" * 10_000_000), compression="zstd"),
        "packed as gzip": written(rows(3, "x" * 10_000_000), compression="gzip"),
        "other columns": written(pa.table({"a": [1]})),
        "numbers for texts": written(pa.table({name: [1] for name in schema.names})),
        "a text that is not UTF-8": written(pa.table([not_utf8(f) for f in schema], schema)),
        "no text": written(pa.table([pa.array([None], field.type) for field in schema], schema)),
        "cut": plain[: len(plain) // 2],
        "a footer of gigabytes": plain[:-8] + struct.pack("<I", 0x7FFFFFFF) + b"PAR1",
        "noise": b"PAR1" + bytes(range(256)) * 4 + b"PAR1",
        "empty": b"",
    }


def arrow_files(schema: pa.Schema) -> dict[str, bytes]:
    def written(table: pa.Table, compression: str | None = None) -> bytes:
        sink = io.BytesIO()
        with pa.ipc.new_file(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
            writer.write_table(table)
        return sink.getvalue()

    columns = [pa.array(["x" * 1000] * 5 if pa.types.is_string(f.type) else [0] * 5, f.type) for f in schema]
    table = pa.table(columns, schema)
    plain, packed = written(table), written(table, "zstd")
    return {
        "packed": packed,
        "packed, and a list of places that says otherwise": packed[: packed.rfind(b"\xff\xff\xff\xff\0\0\0\0")]
        + plain[-400:],
        "lengths of petabytes": packed.replace(struct.pack("<q", 5000), struct.pack("<q", 1 << 50)),
        "other columns": written(pa.table({"a": [1]})),
        "dictionaries": written(pa.table({"key": pa.array(["a"]).dictionary_encode()})),
        "cut": plain[: len(plain) // 2],
        "no stream": b"ARROW1\0\0",
        "noise": b"ARROW1\0\0" + bytes(range(256)) * 8,
        "empty": b"",
    }


def picture_files() -> dict[str, bytes]:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    def png(width: int, height: int, *between: bytes, rows: bytes = b"") -> bytes:
        size = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        data = chunk(b"IDAT", rows or zlib.compress(b"\0" * 1000))
        return b"\x89PNG\r\n\x1a\n" + size + b"".join(between) + data + chunk(b"IEND", b"")

    small = io.BytesIO()
    Image.new("RGB", (8, 8)).save(small, "JPEG")
    jpeg = small.getvalue()
    at = jpeg.index(b"\xff\xc0")
    bomb = zlib.compress(b"\0" * (200 << 20), 9)
    return {
        "a PNG of gigapixels": png(60_000, 60_000),
        "a PNG of no pixels": png(0, 0),
        "a PNG of too many pixels": png(12_000, 12_000),
        "a PNG with a comment of gigabytes": png(8, 8, chunk(b"zTXt", b"c\0\0" + bomb)),
        "a PNG with a profile of gigabytes": png(8, 8, chunk(b"iCCP", b"c\0\0" + bomb)),
        "a JPEG of gigapixels": jpeg[: at + 5] + struct.pack(">HH", 65_000, 65_000) + jpeg[at + 9 :],
        "a GIF of gigapixels": b"GIF89a" + struct.pack("<HH", 65_000, 65_000) + b"\0\0\0;",
        "a WEBP of nothing": b"RIFF" + struct.pack("<I", 0xFFFFFFF0) + b"WEBPVP8 ",
        "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n(ran) (w) file\n",
        "SVG": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "cut": jpeg[: len(jpeg) // 2],
        "empty": b"",
        "noise": base64.b64decode("/9j/4AAQ") + bytes(range(256)),
    }


def big_file(path: Path, size: int) -> Path:
    """A file that has a size and no bytes on the disk."""
    with open(path, "wb") as handle:
        handle.truncate(size)
    return path
