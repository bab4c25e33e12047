"""Finds every function of itrcore that reads: whoever adds one has to put it into the tables of `readers.py`."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.support.project import ROOT

_CALLS = {
    "json.load", "json.loads", "np.load", "np.fromfile", "np.memmap", "np.lib.format.read_array", "torch.load", "yaml.load",
    "Image.open", "csv.reader", "gzip.open", "gzip.decompress", "bz2.open", "lzma.open", "requests.get", "urlopen",
    "tarfile.open", "zipfile.ZipFile", "pq.ParquetFile", "pq.read_table", "pa.ipc.open_file", "pa.ipc.open_stream", "os.open",
    "os.preadv", "gdown.download", "kagglehub.dataset_download", "timm.create_model", "cached_file", "open", "pickle.load",
    "pickle.loads", "read_within", "parse_json", "read_json", "open_array", "safe_open", "load_file", "read_arrow", "read_buffer",
    "read_parquet", "faiss.read_index", "opened_zip", "opened_tar", "gunzipped",
}  # fmt: skip
_METHODS = {
    "read_text",
    "read_bytes",
    "from_pretrained",
    "get_config_dict",
    "from_file",
    "model_validate_json",
    "read_json",
}


def found() -> dict[str, set[str]]:
    """Every function of itrcore with a call that reads, as `module:qualified name`, and these calls."""
    reading: dict[str, set[str]] = {}
    for path in sorted((ROOT / "itrcore").rglob("*.py")):
        module = path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")
        for function, call in _calls(ast.parse(path.read_text("utf-8")), ()):
            name = _dotted(call.func)
            reads = name in _CALLS or name.rpartition(".")[2] in _METHODS
            modes = [part.value for part in call.args[1:2] if isinstance(part, ast.Constant)]
            if reads and not (name == "open" and any("w" in str(mode) for mode in modes)):
                reading.setdefault(f"{module}:{function}", set()).add(name)
    return reading


def _calls(node: ast.AST, inside: tuple[str, ...]) -> Iterator[tuple[str, ast.Call]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from _calls(child, (*inside, child.name))
            continue
        if isinstance(child, ast.Call):
            yield ".".join(inside), child
        yield from _calls(child, inside)


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"
