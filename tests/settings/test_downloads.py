"""What a part of a download may say."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.small_experiment import plain


@pytest.mark.parametrize("source", ["s3://bucket/data.zip", "ftp://host/data.zip"])
def test_a_source_of_no_known_kind_is_named(complaints: Any, source: str) -> None:
    data = plain()
    data["downloads"] = {"f30k": {"features": {"sources": [source]}}}
    [line] = complaints(data)
    assert line.startswith("downloads.f30k.features.sources.0: ") and "no kind of source" in line


def test_a_download_stays_in_its_folder(complaints: Any) -> None:
    data = plain()
    for into in ("../other", "/etc", "C:\\x", "a/../../b"):
        data["downloads"] = {"f30k": {"features": {"sources": ["x.zip"], "into": into}}}
        [line] = complaints(data)
        assert line.startswith("downloads.f30k.features.into: ") and "leaves the download's folder" in line
