"""A whole download: sources in order, what is recorded and enforced, links, reruns that do nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from itrcore.errors import DataError
from itrcore.fetch import download, record
from itrcore.fetch.parts import MANY, fetch
from itrcore.progress import Watcher
from itrcore.settings.downloads import DownloadSettings
from tests.support.fetch_server import Served, Server, content, digest_of, serving, zip_of

FEATURES, CAPTIONS = content(200_000), b"a man rides a horse .\n"
ARCHIVE = zip_of({"data/f30k/ims.npy": FEATURES, "data/f30k/caps.txt": CAPTIONS, "vocab/f30k.json": b"{}"})


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "WAIT", 0.01)
    monkeypatch.setenv("no_proxy", "127.0.0.1")


class Lines(Watcher):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def get(folder: Path, **parts: dict[str, Any]) -> Lines:
    lines = Lines()
    fetch("f30k", {part: DownloadSettings(**settings) for part, settings in parts.items()}, folder, lines)
    return lines


def features(*sources: object, **more: Any) -> dict[str, Any]:
    return {"sources": [str(source) for source in sources], "into": "precomp", "only": ["*f30k/*"], **more}


def test_parts_share_an_archive_land_where_they_belong_and_are_recorded(tmp_path: Path) -> None:
    with serving(data_zip=Served(ARCHIVE)) as server:
        url = f"{server.url}data.zip"
        lines = get(tmp_path, features=features(url), vocab={"sources": [url], "into": "vocab", "only": ["vocab/*"]})
        assert len(server.asked) == 1
    assert (tmp_path / "f30k" / "precomp" / "ims.npy").read_bytes() == FEATURES
    assert (tmp_path / "f30k" / "vocab" / "f30k.json").read_bytes() == b"{}"
    assert json.loads((tmp_path / "f30k.json").read_text()) == {
        "features": {
            "files": {
                "precomp/caps.txt": {"bytes": len(CAPTIONS), "sha256": digest_of(CAPTIONS)},
                "precomp/ims.npy": {"bytes": len(FEATURES), "sha256": digest_of(FEATURES)},
            }
        },
        "vocab": {"files": {"vocab/f30k.json": {"bytes": 2, "sha256": digest_of(b"{}")}}},
    }
    assert ".partial holds 0.2 MB" in lines.lines[-1]


def test_the_record_does_not_tell_which_source_gave_the_files(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(ARCHIVE)
    shutil.unpack_archive(tmp_path / "a.zip", tmp_path / "user")
    with serving(mirror_zip=Served(ARCHIVE)) as server:
        sources = [f"{server.url}mirror.zip", tmp_path / "a.zip", tmp_path / "user"]
        for number, source in enumerate(sources):
            get(tmp_path / str(number), features=features(source))
        get(tmp_path / "linked", features=features(tmp_path / "user", link=True))
    records = {path.read_bytes() for path in tmp_path.glob("*/f30k.json")}
    assert len(records) == 1 and len(list(tmp_path.glob("*/f30k.json"))) == 4


def test_sources_are_tried_in_order_past_what_does_not_give_the_files(tmp_path: Path) -> None:
    good = Served(ARCHIVE)
    with serving(
        gone_zip=Served(b"", status=404), page_zip=Served(b"<html>", kind="text/html"), good_zip=good
    ) as server:
        urls = [f"{server.url}{name}.zip" for name in ("gone", "page", "good", "never")]
        lines = get(tmp_path, features=features(tmp_path / "absent", *urls)).lines
        assert [name for name, _ in server.asked] == ["gone.zip", "page.zip", "good.zip"]
    assert (tmp_path / "f30k" / "precomp" / "ims.npy").read_bytes() == FEATURES
    assert [line.split(" is passed over")[0] for line in lines[:3]] == [
        f"features: {source}" for source in (tmp_path / "absent", *urls[:2])
    ]


def test_where_all_fail_one_error_names_each_source_and_why_and_what_came_is_kept(tmp_path: Path) -> None:
    with serving(data_zip=Served(ARCHIVE, cut_at=90_000), wrong_zip=Served(b"no archive")) as server:
        urls = [f"{server.url}data.zip", f"{server.url}wrong.zip", tmp_path / "absent.zip"]
        with pytest.raises(DataError) as caught:
            get(tmp_path, features=features(*urls))
        message = str(caught.value)
        assert "downloads.f30k.features" in message and "90,000 bytes are kept" in message
        assert "wrong.zip is a damaged archive" in message and "absent.zip: no such file" in message
        assert not (tmp_path / "f30k.json").exists()
        assert not list((tmp_path / ".partial").glob("*/wrong.zip"))  # it would be found there again and again
        server.files["data.zip"].cut_at = None
        server.asked.clear()
        get(tmp_path, features=features(*urls))
        assert server.asked == [("data.zip", "bytes=90000-")]


def test_an_archive_of_another_checksum_is_passed_over(tmp_path: Path) -> None:
    other = zip_of({"f30k/ims.npy": b"other"})
    with serving(bad_zip=Served(other), good_zip=Served(ARCHIVE)) as server:
        urls = f"{server.url}bad.zip", f"{server.url}good.zip"
        lines = get(tmp_path, features=features(*urls, sha256=digest_of(ARCHIVE), bytes=len(ARCHIVE)))
    assert (tmp_path / "f30k" / "precomp" / "ims.npy").read_bytes() == FEATURES
    assert any("good.zip" in line for line in lines.lines)


def test_a_rerun_with_everything_there_asks_no_source(tmp_path: Path) -> None:
    with serving(data_zip=Served(ARCHIVE)) as server:
        part = features(f"{server.url}data.zip")
        get(tmp_path, features=part)
    before = (tmp_path / "f30k" / "precomp" / "ims.npy").stat().st_ino
    shutil.rmtree(tmp_path / ".partial")  # as the closing line allows
    lines = get(tmp_path, features=part)
    assert lines.lines == ["features: 2 files are there, as recorded"]
    assert (tmp_path / "f30k" / "precomp" / "ims.npy").stat().st_ino == before


@pytest.mark.parametrize("damage", ["removed", "cut", "changed"])
def test_a_file_that_is_not_as_recorded_is_fetched_again_and_no_other(tmp_path: Path, damage: str) -> None:
    with serving(data_zip=Served(ARCHIVE)) as server:
        get(tmp_path, features=features(f"{server.url}data.zip"))
        path, other = tmp_path / "f30k" / "precomp" / "ims.npy", tmp_path / "f30k" / "precomp" / "caps.txt"
        untouched = other.stat().st_ino
        if damage == "removed":
            path.unlink()
        else:
            path.write_bytes(FEATURES[:-5] if damage == "cut" else b"?" + FEATURES[1:])
        get(tmp_path, features=features(f"{server.url}data.zip"))
    assert path.read_bytes() == FEATURES and other.stat().st_ino == untouched


def test_other_patterns_are_another_question(tmp_path: Path) -> None:
    with serving(data_zip=Served(ARCHIVE)) as server:
        get(tmp_path, features=features(f"{server.url}data.zip") | {"only": ["*caps.txt"]})
        get(tmp_path, features=features(f"{server.url}data.zip"))
    assert set(record.read(tmp_path / "f30k.json")["features"]) == {"precomp/caps.txt", "precomp/ims.npy"}


def changed(server: Server) -> None:
    server.files["data.zip"] = Served(zip_of({"f30k/ims.npy": b"other features", "f30k/caps.txt": CAPTIONS}), '"2"')


def test_a_file_that_changed_since_it_was_recorded_is_refused_with_both_digests(tmp_path: Path) -> None:
    with serving(data_zip=Served(ARCHIVE)) as server:
        part = features(f"{server.url}data.zip")
        get(tmp_path, features=part)
        recorded = (tmp_path / "f30k.json").read_bytes()
        shutil.rmtree(tmp_path / "f30k")
        shutil.rmtree(tmp_path / ".partial")
        changed(server)
        with pytest.raises(DataError, match=r"ims\.npy has changed") as caught:
            get(tmp_path, features=part)
        message = str(caught.value)
        assert digest_of(FEATURES) in message and digest_of(b"other features") in message
        assert f'delete "features" from {tmp_path / "f30k.json"}' in message
        assert (tmp_path / "f30k.json").read_bytes() == recorded
        assert not (tmp_path / "f30k" / "precomp" / "ims.npy").exists()
        (tmp_path / "f30k.json").unlink()
        get(tmp_path, features=part)
    assert (tmp_path / "f30k" / "precomp" / "ims.npy").read_bytes() == b"other features"


def test_a_source_that_lost_a_recorded_file_is_refused(tmp_path: Path) -> None:
    with serving(data_zip=Served(ARCHIVE)) as server:
        part = features(f"{server.url}data.zip")
        get(tmp_path, features=part)
        shutil.rmtree(tmp_path / "f30k" / "precomp")
        shutil.rmtree(tmp_path / ".partial")
        server.files["data.zip"] = Served(zip_of({"f30k/ims.npy": FEATURES}), '"2"')
        with pytest.raises(DataError, match=r"it no longer holds precomp/caps\.txt"):
            get(tmp_path, features=part)


@pytest.mark.parametrize("wrong", [{"sha256": "0" * 64}, {"bytes": 7}])
def test_a_local_archive_is_checked_too(tmp_path: Path, wrong: dict[str, Any]) -> None:
    (tmp_path / "a.zip").write_bytes(ARCHIVE)
    with pytest.raises(DataError, match=r"a\.zip has .*params\.yaml says"):
        get(tmp_path, features=features(tmp_path / "a.zip", **wrong))
    assert (tmp_path / "a.zip").exists() and not (tmp_path / "f30k").exists()


def test_one_part_that_fails_leaves_the_others_recorded(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(ARCHIVE)
    with pytest.raises(DataError, match=r"f30k\.second"):
        get(tmp_path, first=features(tmp_path / "a.zip"), second=features(tmp_path / "absent", into="other"))
    assert list(record.read(tmp_path / "f30k.json")) == ["first"]


@pytest.mark.parametrize("into", ["precomp", "precomp/caps.txt"])
def test_two_parts_may_not_write_one_path_nor_one_inside_the_others(tmp_path: Path, into: str) -> None:
    (tmp_path / "a.zip").write_bytes(ARCHIVE)
    with pytest.raises(DataError, match="the parts first and second both write it"):
        get(tmp_path, first=features(tmp_path / "a.zip"), second=features(tmp_path / "a.zip", into=into))


def test_a_plain_file_comes_under_its_own_name_and_is_not_kept_twice(tmp_path: Path) -> None:
    with serving(dataset_json=Served(b'{"images": []}')) as server:
        get(tmp_path, karpathy={"sources": [f"{server.url}dataset.json?download=1"]})
    assert (tmp_path / "f30k" / "dataset.json").read_bytes() == b'{"images": []}'
    assert not [path for path in (tmp_path / ".partial").rglob("*") if path.is_file() and path.stat().st_size]


def test_a_local_folder_is_linked_to_as_a_whole_and_nothing_is_copied(tmp_path: Path) -> None:
    pictures = tmp_path / "user" / "flickr30k-images"
    pictures.mkdir(parents=True)
    (pictures / "1.jpg").write_bytes(b"jpeg")
    part = {"sources": [str(pictures)], "into": "images", "link": True}
    get(tmp_path, images=part)
    link = tmp_path / "f30k" / "images"
    assert link.is_symlink() and link.resolve() == pictures
    assert record.read(tmp_path / "f30k.json")["images"] == {"images/1.jpg": {"bytes": 4, "sha256": digest_of(b"jpeg")}}
    assert get(tmp_path, images=part).lines == ["images: 1 files are there, as recorded"]
    with pytest.raises(DataError, match="both write it"):  # never through the link, into the user's folder
        get(tmp_path, images=part, more={"sources": [str(pictures / "1.jpg")], "into": "images"})
    assert [path.name for path in pictures.iterdir()] == ["1.jpg"]
    get(tmp_path, images={**part, "link": False})
    assert not link.is_symlink() and (link / "1.jpg").read_bytes() == b"jpeg"
    assert (pictures / "1.jpg").exists()


def test_an_empty_folder_is_not_taken_for_the_pictures(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    with pytest.raises(DataError, match="the folder holds no file"):
        get(tmp_path, images={"sources": [str(tmp_path / "pictures")], "into": "images", "link": True})
    with pytest.raises(DataError, match="it holds nothing"):
        get(tmp_path, images={"sources": [str(tmp_path / "pictures")], "into": "images"})


def test_a_large_linked_folder_is_recorded_by_sizes(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(MANY):
        (pictures / f"{number}.jpg").write_bytes(b"x" * (number % 7))
    get(tmp_path, images={"sources": [str(pictures)], "into": "images", "link": True})
    files = record.read(tmp_path / "f30k.json")["images"]
    assert len(files) == MANY and files["images/6.jpg"] == {"bytes": 6}


def test_files_of_a_local_folder_are_linked_to_one_by_one_where_patterns_choose(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(ARCHIVE)
    shutil.unpack_archive(tmp_path / "a.zip", tmp_path / "user")
    get(tmp_path, features=features(tmp_path / "user", link=True))
    link = tmp_path / "f30k" / "precomp" / "ims.npy"
    assert link.is_symlink() and link.resolve() == tmp_path / "user" / "data" / "f30k" / "ims.npy"


def test_a_downloaded_files_digest_comes_from_the_record_and_any_others_from_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(ARCHIVE)
    get(tmp_path, features=features(tmp_path / "a.zip"))
    path = tmp_path / "f30k" / "precomp" / "ims.npy"
    real = digest_of(FEATURES)
    assert record.sha256(path, tmp_path) == real == record.sha256(path, tmp_path / "elsewhere")
    parts = record.read(tmp_path / "f30k.json")
    parts["features"]["precomp/ims.npy"]["sha256"] = "0" * 64
    record.write(tmp_path / "f30k.json", parts)
    assert record.sha256(path, tmp_path) == "0" * 64  # not read again
    (path.parent / "own.npy").write_bytes(b"own")
    assert record.sha256(path.parent / "own.npy", tmp_path) == digest_of(b"own")
    path.write_bytes(b"changed")
    assert record.sha256(path, tmp_path) == digest_of(b"changed")
    assert record.owner(path, tmp_path) == "f30k" and record.owner(tmp_path.parent, tmp_path) is None


@pytest.mark.parametrize("only", [[], ["*ims.npy"]])
def test_what_a_link_points_to_may_change_and_is_read(tmp_path: Path, only: list[str]) -> None:
    (tmp_path / "user").mkdir()
    (tmp_path / "user" / "ims.npy").write_bytes(b"before")
    get(tmp_path, features={"sources": [str(tmp_path / "user")], "into": "precomp", "only": only, "link": True})
    path = tmp_path / "f30k" / "precomp" / "ims.npy"
    assert record.sha256(path, tmp_path) == digest_of(b"before")
    (tmp_path / "user" / "ims.npy").write_bytes(b"aftera")
    assert record.sha256(path, tmp_path) == digest_of(b"aftera")


def test_what_is_missing_or_cut_is_named_with_the_command_that_mends_it(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(ARCHIVE)
    with pytest.raises(DataError, match=r"no such file.*fetch@f30k"):
        record.check_present(tmp_path / "f30k.json", tmp_path / "f30k")
    get(tmp_path, features=features(tmp_path / "a.zip"))
    record.check_present(tmp_path / "f30k.json", tmp_path / "f30k")
    path = tmp_path / "f30k" / "precomp" / "ims.npy"
    path.write_bytes(FEATURES[:7])
    with pytest.raises(DataError, match=r"ims\.npy: 7 bytes; expected 200,000.*--single-item fetch@f30k"):
        record.check_present(tmp_path / "f30k.json", tmp_path / "f30k")
    path.unlink()
    with pytest.raises(DataError, match=r"ims\.npy: No such file"):
        record.check_present(tmp_path / "f30k.json", tmp_path / "f30k")


def test_a_damaged_record_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "f30k.json").write_text('{"features": []}')
    with pytest.raises(DataError, match=r"f30k\.json: not readable"):
        get(tmp_path, features=features(tmp_path / "a.zip"))
