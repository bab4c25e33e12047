"""Every function of itrcore that reads a file or bytes from outside, and how a hostile one is put in its way.

`test_readers.py` finds these functions by itself and fails for one that stands in none of the tables here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from itrcore import intact
from itrcore.arrays import open_array
from itrcore.assets import grid
from itrcore.costs import counts, plan
from itrcore.data import altered, captions, hard_negatives, karpathy, pictures, scan
from itrcore.data.concepts.concepts import Concepts
from itrcore.data.feeding.kept_tokens import tokens_of
from itrcore.data.shards import regions
from itrcore.data.shards.cache import ShardCache
from itrcore.data.shards.checks import index_table
from itrcore.data.shards.files import read_description
from itrcore.data.shards.verified import Verified
from itrcore.data.source import Source
from itrcore.data.text import glove, punkt
from itrcore.data.text.clip_tokens import CLIPTokens
from itrcore.data.text.glove import WordVectors
from itrcore.data.text.vocabulary import SPECIAL, Vocabulary, WordSplitter
from itrcore.data.text.wordpieces import WordPieces
from itrcore.errors import DataError
from itrcore.fetch import parts, record
from itrcore.files import WrongKind, digest, sha256
from itrcore.index import record as index_record
from itrcore.index import unfinished
from itrcore.own_data import captions as own_captions
from itrcore.own_data.features import open_features
from itrcore.pretrained import bert, clip, detector, processors, towers
from itrcore.protocols import cxc_ratings
from itrcore.protocols.ranked import SCHEMA as SCHEMA_OF_RANKS
from itrcore.released.checkpoint import Checkpoint
from itrcore.released.text import clip_vocabulary
from itrcore.report import ranked
from itrcore.retriever import encoded_items
from itrcore.runs import distractors, inputs, pairs, scored
from itrcore.runs import folder as run_folder
from itrcore.runs.records import Evaluation, Run
from itrcore.settings import recipes, yaml_file
from itrcore.settings.downloads import DownloadSettings, PunktSettings
from itrcore.settings.load import load
from itrcore.settings.published_sizes import BertSizes, bert_sizes
from itrcore.training.state import StateFolder
from tests.security import hostile

Read = Callable[[Path, bytes], Any]  # an empty folder, which is the working folder too, and the bytes


@dataclass(frozen=True)
class Reader:
    """covers: the functions that the call reaches and that read; file: where the bytes go; read: the call

    ignores: what it gives for a hostile file where it goes on without it
    valid: a file of its kind that it takes, which hostile values are put into
    """

    covers: tuple[str, ...]
    file: str
    read: Callable[[Path], Any]
    files: Callable[[], Mapping[str, bytes]]
    ignores: Any = DataError


def _fetch(path: Path) -> Any:
    settings = DownloadSettings(sources=[str(path)], into="got")
    return parts.fetch("d", {"part": settings}, path.parent / "downloads")


def _kept_tokens(path: Path) -> Any:
    """They are made again."""
    tokeniser = Vocabulary([*SPECIAL, "a"], WordSplitter(None))
    return [row.tolist() for row in (tokens_of([""], tokeniser, path).ids,)]


def _note(path: Path) -> Any:
    """A note that is damaged says nothing: the file is fetched again."""
    source = path.parents[2] / "a.txt"
    source.write_text("a")
    parts.fetch("d", {"part": DownloadSettings(sources=[str(source)])}, path.parents[1])
    return (path.parent / "a.txt").read_text()


def _punkt(path: Path) -> Any:
    settings = PunktSettings(
        sources=[str(path)], sha256=sha256(path), files={"a.txt": "0" * 64}, timeout=1.0
    )  # fmt: skip
    return punkt.fetch(settings, path.parent / "nltk")


def _concepts(path: Path) -> Any:
    """One file of a folder whose other file is whole; anybody can seal it."""
    data, one = path.read_bytes(), np.ones((1, 1), np.float32)
    Concepts(("a",), ("object",), np.ones(1, np.int64), one, one, "captions", "rules").save(path.parent)
    path.write_bytes(data)
    intact.seal(path.parent)
    return Concepts.load(path.parent)


def _ranks(path: Path) -> Any:
    """Whoever gives the ranks gives the digest as well."""
    evaluation = Evaluation.model_construct(data="d", name="a", files={path.name: sha256(path)})
    return ranked.read_ranks(path.parents[3], evaluation, np.zeros(1, np.int64))


def _outcomes(path: Path) -> Any:
    evaluation = Evaluation.model_construct(data="d", name="a", files={path.name: sha256(path)})
    return ranked.read_outcomes(path.parents[3], evaluation, "eccv", 1)


def _scores(path: Path) -> Any:
    return scored.open_scores(path.parents[1], "test", {"test/vectors.safetensors": sha256(path)}, "evaluate@a")


def _recorded(path: Path) -> Any:
    (path.parent / "captions.parquet").write_bytes(b"")
    return captions.read_table(path.parent / "captions.parquet")


def _scan(path: Path) -> Any:
    for split in ("train",):
        (path.parent / f"{split}_ids.txt").write_text("1\n") if "ids" not in path.name else None
        (path.parent / f"{split}_caps.txt").write_text("a\n") if "caps" not in path.name else None
    return scan.read_captions(path.parent, "train")


def _open_split(path: Path) -> Any:
    (path.parent / "train_ids.txt").write_text("1\n")
    (path.parent / "train_caps.txt").write_text("a\n")
    if path.name != "train_ims.npy":
        np.save(path.parent / "train_ims.npy", np.zeros((1, 2, 3), np.float32))
    return scan.open_split(path.parent, "train")


def _changes(path: Path) -> Any:
    params = SimpleNamespace(
        evaluated=lambda name: SimpleNamespace(data="d"), run=lambda name: SimpleNamespace(data="d"), transfers={}
    )
    return inputs.changes(params, "r")  # type: ignore[arg-type]


def _detector(path: Path) -> Any:
    return detector.load(torch.nn.Sequential(), path)


def _index(schema: pa.Schema, path: Path) -> Any:
    try:
        return index_table(pa.py_buffer(path.read_bytes()), schema)
    except WrongKind as error:
        raise DataError.at(path, error.found, error.expected) from error  # as `read_index` does


def _state(path: Path) -> Any:
    """State of a training, with the digests that fit it: whoever changes one file can change the digests as well."""
    folder = path.parent
    written = path.read_bytes()
    if path.suffix == ".safetensors":
        from safetensors.torch import save_file

        other = next(n for n in ("model.safetensors", "optimiser.safetensors") if n != path.name)
        save_file({"a": torch.zeros(1)}, folder / other, {"param_groups": "[]"})
        names = {name: sha256(folder / name) for name in (path.name, other)}
        value = {"state": {"identity": "i"}, "files": names}
        (folder / "state.json").write_text(json.dumps({**value, "digest": digest(value)}))
        assert path.read_bytes() == written
    return StateFolder(folder.parent).load("i")


def _samples(path: Path) -> Any:
    return list(regions.samples(path))


def _json(valid: bytes = b"{}") -> Callable[[], dict[str, bytes]]:
    return lambda: dict(hostile.json_files(valid))


def _sealed(valid: bytes = b"{}") -> Callable[[], Mapping[str, bytes]]:
    """The same, and objects with a digest that fits: anybody can make it."""

    def files() -> Mapping[str, bytes]:
        found = _json(valid)()
        for name, data in list(found.items()):
            with suppress(ValueError, RecursionError):
                if isinstance(value := json.loads(data), dict) and value:
                    found[f"{name}, sealed"] = json.dumps({**value, "digest": digest(value)}).encode()
        return found

    return files


def _described() -> Mapping[str, bytes]:
    """shards.json, whose digest anybody can make."""
    files = dict(hostile.json_files())
    for name, value in (("null", None), ("a list", []), ("deep", {"a": {"a": 1}}), ("a float", 1e300)):
        described = {"splits": value, "width": value}
        files[f"splits of {name}"] = json.dumps({**described, "digest": digest(described)}).encode()
    return files


def _yaml() -> Mapping[str, bytes]:
    return {
        **{name: text.encode("utf-8", "surrogatepass") for name, text in hostile.YAML_FILES.items()},
        "latin": b"a: \xff",
    }


def _texts() -> Mapping[str, bytes]:
    return {
        "not UTF-8": b"\xff\n",
        "empty": b"",
        "digits": b"9" * 5000,
        "more than 64 bits": b"9" * 30,
        "empty lines": b"\n" * 1000,
        "very many lines": b"\n" * 11_000_000,
    }


def _gz() -> Mapping[str, bytes]:
    import gzip

    whole = gzip.compress(b"a\n")
    return {
        "zeros": hostile.zeros_gz(),
        "lines": hostile.lines_gz(b"the 0.1 0.2\n"),
        "cut": whole[:-4],
        "no gzip": b"text",
        "empty": b"",
        "another check sum": whole[:-8] + b"\0" * 8,
        "noise": whole[:12] + bytes(range(256)),
    }


def _captions_table() -> Mapping[str, bytes]:
    start = b"image,caption\n"
    return {
        "not UTF-8": start + b"a.jpg,\xff\n",
        "a line of megabytes": start + b"a.jpg," + b"x" * 2_000_000,
        "an open quotation mark": start + b'a.jpg,"' + b"x\n" * 200_000,
        "above": start + b"../a.jpg,x\n",
        "a name of 300 bytes": start + b"n" * 300 + b",x\n",
        "very many columns": b"image,caption" + b",x" * 100_000 + b"\n",
        "empty": b"",
    }


def _vectors() -> Mapping[str, bytes]:
    return {
        "infinity": b"the inf 0.1\n",
        "NaN": b"the nan 0.1\n",
        "1e999": b"the 1e999 0.1\n",
        "digits": b"the " + b"9" * 5000 + b" 0.1\n",
        "a line of megabytes": b"the " + b"0" * 3_000_000,
        "a header of digits": b"9" * 5000 + b" " + b"9" * 5000 + b"\n",
        "empty": b"",
        "NUL": b"\0" * 100,
    }


def _zips() -> Mapping[str, bytes]:
    return hostile.zip_files()


def _shards() -> Mapping[str, bytes]:
    def sample(text: bytes, array: bytes) -> bytes:
        parts = [("0.json", text), ("0.regions.npy", array)]
        return b"".join(
            hostile.header(b"0", len(data), name) + data.ljust(-(-len(data) // 512) * 512, b"\0")
            for name, data in parts
        ) + bytes(1024)

    files = {
        f"json, {name}": sample(data, b"")
        for name, data in hostile.json_files()
        if len(data) < 100_000 or "deep" in name
    }
    files |= {f"npy, {name}": sample(b"{}", data) for name, data in hostile.npy_files().items()}
    # What points outside is nothing to a reader that writes nothing; an empty one is a shard without samples.
    harmless = ("a link", "a hard link", "a device", "above", "absolute", "a name", "a header of a name")
    return files | {
        name: data for name, data in hostile.tar_files().items() if not name.startswith(harmless) or "gigabytes" in name
    } | {"packed": hostile.packed_tar()}  # fmt: skip


# Of a data set and a method: no source whose size is known, and no word pieces.
_DATASET: Any = SimpleNamespace(source=None, benchmark=None, vocabulary=SimpleNamespace(word_pieces=None))
_RUN: Any = SimpleNamespace(record=SimpleNamespace(name="r", files={"model.safetensors": "0"}))
_CHECKPOINT = lambda: hostile.torch_files()  # noqa: E731
_NOT_A_FILE: Mapping[str, bytes] = {}

READERS: dict[str, Reader] = {
    "Karpathy's JSON": Reader(
        ("itrcore.data.karpathy:read",), "k.json", karpathy.read, _json(b'{"images": []}')),
    "id_mapping.json": Reader(
        ("itrcore.data.scan:read_id_mapping",), "id_mapping.json", scan.read_id_mapping, _json()),
    "source.json": Reader(
        ("itrcore.data.source:Source.read",), "source.json", lambda path: Source.read(path.parent),
        _sealed(b'{"features": "none"}')),
    "address of shards": Reader(
        ("itrcore.data.shards.cache:ShardCache.of",), "shards.remote.json",
        lambda path: ShardCache.of(path.parent / "shards"), _json(b'{"url": "http://a", "cache": "b"}')),
    "shards.json": Reader(
        ("itrcore.data.shards.files:read_description",), "shards.json", lambda path: read_description(path.parent),
        _described),
    "CLIP's tokenizer.json": Reader(
        ("itrcore.data.text.clip_tokens:CLIPTokens.read",), "tokenizer.json", CLIPTokens.read, _json()),
    "BERT's tokenizer.json": Reader(
        ("itrcore.data.text.wordpieces:WordPieces.read",), "tokenizer.json", WordPieces.read, _json()),
    "BERT's vocab.txt": Reader(
        ("itrcore.data.text.wordpieces:WordPieces.read",), "vocab.txt", WordPieces.read, _texts),
    "files of a folder": Reader(
        ("itrcore.intact:read_sealed",), "files.json", lambda path: intact.check_sealed(path.parent), _sealed(b'{"a": "b"}')),
    "record of the caption table": Reader(
        ("itrcore.intact:read_sealed",), "splits.json", _recorded, _sealed(b'{"captions_sha256": "0"}')),
    "finished training": Reader(
        ("itrcore.training.state:StateFolder.finished",), "state/finished.json",
        lambda path: StateFolder(path.parent).finished(), _sealed(b'{"identity": "i"}'), ignores=None),
    "state of a training of another name": Reader(
        ("itrcore.training.state:StateFolder.unfinished",), "state/step-1/state.json",
        lambda path: StateFolder(path.parent.parent).unfinished(), _json(), ignores=None),
    "size of a data set": Reader(
        ("itrcore.costs.counts:counts",), "data/d/splits.json", lambda path: counts.counts("d", _DATASET), _json(),
        ignores=None),
    "width of a data set's features": Reader(
        ("itrcore.costs.counts:shape",), "data/d/shards/regions/shards.json", lambda path: counts.shape("d", _DATASET).width,
        _json(), ignores=2048),
    "size of a vocabulary": Reader(
        ("itrcore.costs.plan:_n_tokens",), "data/d/vocab/vocab.json",
        lambda path: plan._n_tokens("d", _DATASET, _DATASET), _json(), ignores=8482),
    "sizes of a BERT": Reader(
        ("itrcore.settings.published_sizes:bert_sizes",), "config.json", lambda path: bert_sizes(str(path.parent)), _json(),
        ignores=BertSizes()),
    "record of verified shards": Reader(
        ("itrcore.data.shards.verified:_recorded",), "train.json",
        lambda path: Verified(path).knows(path, "0"), _sealed(b'{"a": 1}'), ignores=False),
    "kept tokens": Reader(
        ("itrcore.data.feeding.kept:read",), "train-words.safetensors", _kept_tokens, hostile.safetensors_files,
        ignores=[[1, 2]]),
    "vocabulary": Reader(
        ("itrcore.data.text.vocabulary:Vocabulary.load",), "v.json", lambda path: Vocabulary.load(path, path.parent), _json()),
    "concepts": Reader(("itrcore.data.concepts.concepts:Concepts.load",), "concepts.json", _concepts, _json()),
    "ranks": Reader(
        ("itrcore.protocols.ranked:read",), "results/d/a/ranks.parquet", _ranks,
        lambda: hostile.parquet_files(SCHEMA_OF_RANKS)),
    "outcomes of protocols": Reader(
        ("itrcore.protocols.outcomes_file:read",), "results/d/a/outcomes.safetensors", _outcomes, hostile.safetensors_files),
    "encoded items": Reader(
        ("itrcore.retriever.encoded_items:read",), "a.safetensors", lambda path: encoded_items.read(path, _RUN),
        hostile.safetensors_files),
    "vectors": Reader(
        ("itrcore.runs.scored:open_scores",), "a/test/vectors.safetensors", _scores, hostile.safetensors_files),
    "vectors of concepts": Reader(
        ("itrcore.data.concepts.concepts:Concepts.load",), "concepts.safetensors", _concepts, hostile.safetensors_files),
    "record of a download": Reader(
        ("itrcore.fetch.record:read",), "d.json", record.read,
        lambda: {**_json(b'{"a": {"files": {}}}')(), **{name: json.dumps({"a": {"files": {name: {"bytes": 1}}}}).encode()
                 for name in ("../a", "/a", "a\0b", "n" * 300, "")}, "a size": b'{"a": {"files": {"x": {"bytes": "1e3"}}}}'}),
    "note of a download": Reader(
        ("itrcore.fetch.parts:_Work.__init__",), "downloads/d/.fetched.json", _note, _json(), ignores="a"),
    "architecture of a grid": Reader(
        ("itrcore.assets.grid:restore",), "backbone.json", lambda path: grid.restore(None, path.parent, None),  # type: ignore[arg-type]
        lambda: {k: v for k, v in _json()().items() if k != "{}"}),
    "configuration of a BERT": Reader(
        ("itrcore.pretrained.weights:read_config",), "c.json", bert.read_config, _json()),
    "configuration of a CLIP": Reader(
        ("itrcore.pretrained.weights:read_config",), "c.json", clip.read_config, _json()),
    "configuration of a dual encoder": Reader(
        ("itrcore.pretrained.weights:read_config",), "c.json", towers.read_config, _json()),
    "how a dual encoder reads pictures": Reader(
        ("itrcore.pretrained.processors:read",), "pictures.json", processors.read, _json()),
    "run.json": Reader(
        ("itrcore.runs.folder:read",), "run.json", lambda path: run_folder.read(path, Run, "train"), _sealed()),
    "record of what decides a run": Reader(
        ("itrcore.runs.inputs:_read",), "runs/d/r/run.json", _changes,
        lambda: {name: data for name, data in _json()().items() if name != "a list"}),
    "state of a training": Reader(
        ("itrcore.training.state:StateFolder._read",), "state/step-1/state.json", _state, _json(), ignores=None),
    "weights of a training": Reader(
        ("itrcore.training.state:StateFolder.load",), "state/step-1/model.safetensors", _state,
        lambda: {k: v for k, v in hostile.safetensors_files().items() if "metadata" not in k}, ignores=None),
    "optimiser of a training": Reader(
        ("itrcore.training.state:_unflatten",), "state/step-1/optimiser.safetensors", _state, hostile.safetensors_files,
        ignores=None),
    "word vectors": Reader(
        ("itrcore.data.text.glove:WordVectors.load",), "glove.safetensors", WordVectors.load, hostile.safetensors_files),
    "array": Reader(("itrcore.arrays:open_array",), "a.npy", open_array, hostile.npy_files),
    "SCAN's features": Reader(
        ("itrcore.data.scan:open_split",), "train_ims.npy", _open_split, hostile.npy_files),
    "SCAN's boxes": Reader(
        ("itrcore.data.scan:open_split",), "train_boxes.npy", _open_split, hostile.npy_files),
    "SCAN's counts": Reader(
        ("itrcore.data.scan:_read_counts",), "train_counts.npy", _open_split, hostile.npy_files),
    "a user's features": Reader(
        ("itrcore.own_data.features:_Array.__init__",), "f.npy", lambda path: open_features(path, ["a"]), hostile.npy_files),
    "a user's folder of features": Reader(
        ("itrcore.own_data.features:_Folder.read",), "f/a.npy", lambda path: open_features(path.parent, ["a"]).read(0),
        hostile.npy_files),
    "a user's captions": Reader(
        ("itrcore.own_data.captions:_rows", "itrcore.own_data.captions:_lines"), "c.csv", own_captions.read, _captions_table),
    "CxC's ratings": Reader(
        ("itrcore.protocols.cxc_ratings:_lines",), "sits_test.csv", lambda path: cxc_ratings.read(path, "sits"),
        _captions_table),
    "SugarCrepe's pairs": Reader(
        ("itrcore.data.hard_negatives:_read",), "replace_obj.json", lambda path: hard_negatives.read(path.parent),
        _json(b'{"0": {"filename": "000000000001.jpg", "caption": "a", "negative_caption": "b"}}')),
    "RoCOCO's captions": Reader(
        ("itrcore.data.altered:_read",), "rand_voca.json", lambda path: altered.read(path.parent),
        _json(b'[{"image": "COCO_val2014_000000000001.jpg", "caption": ["a", "b"]}]')),
    "scores of altered captions": Reader(
        ("itrcore.runs.distractors:open_distractors",), "a/test/altered.safetensors",
        lambda path: distractors.open_distractors(
            path.parents[1], "test", {"test/altered.safetensors": sha256(path)}, "evaluate@a"),
        hostile.safetensors_files),
    "scores of pairs": Reader(
        ("itrcore.runs.pairs:open_pairs",), "a/test/negatives.parquet",
        lambda path: pairs.open_pairs(path.parents[1], "test", {"test/negatives.parquet": sha256(path)}, "evaluate@a"),
        lambda: hostile.parquet_files(pairs.SCHEMA)),
    "record of an index": Reader(
        ("itrcore.index.record:read",), "i/index.json", lambda path: index_record.read(path.parent), _json()),
    "pictures of an index": Reader(
        ("itrcore.index.record:read_items",), "items.parquet", index_record.read_items,
        lambda: hostile.parquet_files(index_record.SCHEMA)),
    "block of an unfinished index": Reader(
        ("itrcore.index.unfinished:read_block",), "block.safetensors", lambda path: unfinished.read_block(
            path.rename(path.with_name(f"{sha256(path)}.safetensors")), "0"), hostile.safetensors_files, ignores=None),
    "SCAN's captions": Reader(("itrcore.data.scan:_read_lines",), "train_caps.txt", _scan,
        lambda: {name: data for name, data in _texts().items() if not data.startswith(b"9")}),
    "SCAN's ids": Reader(("itrcore.data.scan:_read_lines",), "train_ids.txt", _scan, _texts),
    "SCAN's captions, packed": Reader(("itrcore.data.scan:_read_lines",), "train_caps.txt.gz", _scan, _gz),
    "SCAN's ids, packed": Reader(("itrcore.data.scan:_read_lines",), "train_ids.txt.gz", _scan, _gz),
    "caption table": Reader(
        ("itrcore.data.captions:_table", "itrcore.tables:read_parquet", "itrcore.tables:_check_footer"), "c.parquet",
        captions.read_published,
        lambda: hostile.parquet_files(captions.SCHEMA)),
    "index of shards": Reader(
        ("itrcore.data.shards.checks:index_table", "itrcore.tables:read_arrow"), "train.arrow",
        partial(_index, regions.INDEX_SCHEMA), lambda: hostile.arrow_files(regions.INDEX_SCHEMA)),
    "shard": Reader(
        ("itrcore.data.shards.regions:samples", "itrcore.data.shards.regions:_members", "itrcore.data.shards.regions:_array"),
        "train-0.tar", _samples, _shards),
    "GloVe": Reader(
        ("itrcore.data.text.glove:_opened",), "g.txt", lambda path: glove.look_up(path, ["the"], 2), _vectors),
    "GloVe, packed": Reader(
        ("itrcore.data.text.glove:_opened",), "g.txt.gz", lambda path: glove.look_up(path, ["cat"], 2), _gz),
    "GloVe in a zip": Reader(
        ("itrcore.data.text.glove:_opened",), "g.zip", lambda path: glove.look_up(path, ["the"], 2), _zips),
    "OpenAI's byte pairs": Reader(
        ("itrcore.released.text.clip_vocabulary:read",), "bpe.txt.gz", clip_vocabulary.read, _gz),
    "released checkpoint": Reader(
        ("itrcore.pretrained.torch_file:read", "itrcore.pretrained.torch_file:check_plain"), "m.pth", Checkpoint.read,
        hostile.torch_files),
    "detector's weights": Reader(
        ("itrcore.pretrained.torch_file:read",), "m.pth", _detector, hostile.torch_files),
    "picture": Reader(
        ("itrcore.data.pictures:read_bytes",  "itrcore.data.pictures:_opened"), "a.png",
        lambda path: pictures.read(path.parent, path.name, 50.0), hostile.picture_files),
    "picture, decoded": Reader(
        ("itrcore.data.pictures:_opened",), "a.png", lambda path: pictures.decode(pictures.read_bytes(path), path),
        lambda: {k: v for k, v in hostile.picture_files().items() if "comment" not in k and "profile" not in k}),
    "nltk's data": Reader(("itrcore.data.text.punkt:_read_source",), "p.zip", _punkt, _zips),
    "download, zip": Reader(
        ("itrcore.fetch.contents:ZipContents.__init__", "itrcore.fetch.contents:ZipContents.read",
         "itrcore.fetch.contents:open_contents"), "a.zip", _fetch, _zips),
    "download, tar": Reader(
        ("itrcore.fetch.contents:TarContents.__init__", "itrcore.fetch.contents:TarContents.read"), "a.tar", _fetch,
        hostile.tar_files),
    "download, packed tar": Reader(
        ("itrcore.fetch.contents:TarContents.__init__",), "a.tar.gz", _fetch,
        lambda: {**_gz(), "a packed member": hostile.packed_tar()}),
    "params.yaml": Reader(("itrcore.settings.yaml_file:read", "itrcore.settings.yaml_file:parse"), "params.yaml", load, _yaml),
    "a recipe": Reader(
        ("itrcore.settings.yaml_file:read",), "recipes/m.yaml", lambda path: recipes.Recipes(path.parent)["m"], _yaml),
    "nltk.yaml": Reader(
        ("itrcore.settings.yaml_file:read",), "nltk.yaml",
        lambda path: yaml_file.settings(PunktSettings, yaml_file.read(path, [], ""), path), _yaml),
}  # fmt: skip

# Functions that read, and need no hostile file of their own.
OURS = {
    "itrcore.code:_read": "a module of this project",
    "itrcore.report.published_figures:published": "a file of this package",
    "itrcore.report.references:published_by_others": "a file of this package",
    "itrcore.report.attachments:page_files": "a page that this process has written",
    "itrcore.settings.experiments:create": "params.yaml, read by `load` before",
    "itrcore.settings.experiments:check_steps": "compared, not understood",
    "itrcore.settings.yaml_file:settings": "JSON made of values that `parse` has checked",
    "itrcore.settings.edit:text_with": "params.yaml, read by `load` before",
    "itrcore.files:read_json": "in every row of JSON",
    "itrcore.files:read_within": "in every row of JSON",
    "itrcore.files:parse_json": "in every row of JSON",
    "itrcore.files:_flush": "written by this process",
    "itrcore.training.launch:_follow": "written by a process that this one started",
    "itrcore.sweeps.process:_follow": "written by a process that this one started",
    "itrcore.sweeps.process:_last_words": "written by a process that this one started",
    "itrcore.sweeps.process:Processes._start": "written, not read",
    "itrcore.sweeps.training:Starter.hear": "written by the process that started this one",
    "itrcore.training.transcript:Transcript.hear": "written, not read",
    "itrcore.training.transcript:Transcript._shorten": "written by this process; copied, not understood",
    "itrcore.network_disk:kind_of": "the system's own",
    "itrcore.network_disk:_hardlinks": "DVC's settings, searched for one line",
    "itrcore.repro:release_dead": "written by DVC on this machine",
    "itrcore.repro:_read": "written by DVC on this machine; what is no JSON counts as nothing",
    "itrcore.data.feeding.random_images:_Pictures.image": "made by this process",
    "itrcore.pretrained.weights:config_on_disk": "only sizes are read, and whatever is wrong with it counts as not there",
    "itrcore.arrays:new_array": "written by this process",
    "itrcore.extraction.published:_Published.__init__": "a processor's own values, which transformers has read",
    "itrcore.extraction.shards:_extractor": "a description that another process of ours has made",
    "itrcore.arrays:read_buffer": "the digest of its bytes, then `index_table`",
    "itrcore.cache:_md5": "only hashed",
    "itrcore.settings.edit:add": "params.yaml, read by `load` before",
    "itrcore.files:sha256": "only hashed",
    "itrcore.unpacking:gunzipped": "in every row of packed files",
    "itrcore.unpacking:opened_zip": "in every row of archives",
    "itrcore.unpacking:opened_tar": "in every row of archives",
    "itrcore.unpacking:is_tar": "test_unpacking.py",
    "itrcore.fetch.contents:PlainContents.read": "copied, not understood",
    "itrcore.fetch.download:_Download._answer": "test_servers.py",
    "itrcore.fetch.download:_Download._store": "written by this process",
    "itrcore.fetch.download:_Download._finish": "written by this process",
    "itrcore.fetch.download:_Download._rehash": "only hashed",
    "itrcore.fetch.download:_Download._noted": "test_servers.py",
    "itrcore.fetch.kaggle:_get.get": "kagglehub's client; what it brings is read as any download",
    "itrcore.fetch.sources:_from_drive": "gdown's client; what it brings is read as any download",
    "itrcore.data.text.punkt:_download": "a file of a known SHA-256",
    "itrcore.data.concepts.tagging:NltkTagger.__init__": "a file of a known SHA-256",
    "itrcore.data.concepts.tagging:_lines": "a file of a known SHA-256",
    "itrcore.data.text.clip_tokens:CLIPTokens.pretrained": "test_pretrained.py",
    "itrcore.data.text.wordpieces:WordPieces.pretrained": "test_pretrained.py",
    "itrcore.data.text.published_tokens:_loaded": "test_pretrained.py",
    "itrcore.data.text.published_tokens:_rules": "what `_loaded` has read",
    "itrcore.pretrained.processors:pixel_input": "test_pretrained.py",
    "itrcore.pretrained.weights:pretrained": "test_pretrained.py",
    "itrcore.pretrained.backbone:_pretrained_timm": "as `itrcore.pretrained.weights:pretrained`, where timm is installed",
    "itrcore.data.shards.files:read_index": "the digest of its bytes, then `index_table`",
    "itrcore.data.shards.files:ShardFiles.read": "numbers of a known place and size",
    "itrcore.data.shards.files:ShardFiles._open": "numbers of a known place and size",
    "itrcore.data.scan:FeatureRows.__iter__": "`open_split` has opened it before",
    "itrcore.data.shards.writing:_Job.is_done": "its own file in a folder of unfinished work; a damaged one is written again",
    "itrcore.data.shards.writing:_finish": "files that `is_done` has read",
    "itrcore.own_data.features:_Array.read": "numbers of a known place and size",
    "itrcore.evaluation.load:load_run": "safetensors' own reader, as in the rows of safetensors",
    "itrcore.released.exporting:_is_new": "whatever it holds, it is another vocabulary",
    "itrcore.report.pictures:Shelf._copy": "a picture that cannot be shown is left out, whatever is wrong with it",
    "itrcore.data.pictures:read": "the two rows of pictures",
    "itrcore.retriever.given:GivenPictures.image": "the two rows of pictures",
    "itrcore.report.search_page:_small": "a picture that cannot be shown is left out, whatever is wrong with it",
    "itrcore.cli.search:_write_page": "the two rows of pictures",
    "itrcore.index.gallery:Folder.picture": "the two rows of pictures",
    "itrcore.data.feeding.shown:ShownPictures.bytes": "the two rows of pictures",
    "itrcore.serving.gallery:of_folder": "the two rows of pictures",
    "itrcore.serving.app:_pages.asset": "a file of this package",
    "itrcore.serving.mlflow_model:PictureSearch.load_context": "a file that MLflow has kept with the model",
    "itrcore.index.opened:open_index": "as `itrcore.arrays:open_array`, its digest checked before",
    "itrcore.index.build:_Before.__init__": "as `itrcore.arrays:open_array`, its digest checked before",
    "itrcore.index.build:_write": "written by this process",
    "itrcore.index.build:_write_vectors": "written by this process",
    "itrcore.index.neighbours:Approximate.read": "its digest checked before: FAISS would trust any bytes (test_index.py)",
    "itrcore.settings.methods:MethodSettings._of_its_kind": "a part of params.yaml, read before",
}
