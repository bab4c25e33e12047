"""What others annotated as right on COCO's test split, on the real ids and positives, wherever an image stands in a split."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from itrcore.protocols.annotations import Annotation, of_split
from itrcore.protocols.coco_ids import annotated, resolve
from tests.protocols.test_coco_protocols import coco_images

IN_ORDER = coco_images()
IMAGES = [IN_ORDER[place] for place in np.random.default_rng(0).permutation(5000)]


def by_ids(annotation: Annotation, side: str) -> set[tuple[int, int]]:
    ids = resolve(IMAGES, "x")
    queries, items = (ids.images, ids.captions) if side == "i2t" else (ids.captions, ids.images)
    return {(int(queries[query]), int(items[item])) for query, item in annotation.sides[side].right}


def test_positives_are_those_of_the_package_by_their_places() -> None:
    eccv, cxc = of_split(IMAGES, ["coco_1k", "eccv", "cxc_own_pairs"], None, "coco")
    known = {"i2t": set(annotated().coco_ids.tolist()), "t2i": {image.image_id for image in IMAGES}}
    for annotation, positives in ((eccv, annotated().eccv_gts), (cxc, annotated().cxc_gts)):
        for side in ("i2t", "t2i"):
            pairs = {(query, item) for query, items in positives[side].items() for item in items}
            assert by_ids(annotation, side) == {pair for pair in pairs if pair[1] in known[side]}
            assert len(pairs) - len(by_ids(annotation, side)) == (2 if (annotation, side) == (eccv, "i2t") else 0)
    assert [len(eccv.sides[side].asked) for side in ("i2t", "t2i")] == [1261, 1332]
    assert len(cxc.sides["t2i"].asked) == 25000 - 28
    query, item = next(iter(eccv.sides["i2t"].right))
    first = np.full(5000, item)
    assert np.flatnonzero(eccv.sides["i2t"].first_is_right(first)).tolist() == sorted(
        image for image, caption in eccv.sides["i2t"].right if caption == item
    )
    assert eccv.says("i2t", query, item) == "right by ECCV Caption" and eccv.says("i2t", query, -1) is None
    assert [each.name for each in of_split(IMAGES, ["cxc"], None, "coco")] == ["CxC"]
    assert of_split([], ["split", "coco_1k"], None, "flickr") == []  # whatever the images are


def test_ratings_say_how_right_and_are_the_same_pairs(shared_data: Path) -> None:
    folder = shared_data / "cxc"
    if not folder.is_dir():
        pytest.skip("CxC's files are not there")
    (rated,), (known,) = (of_split(IMAGES, ["cxc"], ratings, "coco") for ratings in (folder, None))
    for side in ("i2t", "t2i"):
        assert rated.sides[side].right.keys() == known.sides[side].right.keys()
    ids = resolve(IMAGES, "x")
    image, caption = (
        int(np.flatnonzero(of == id_)[0]) for of, id_ in ((ids.images, 391895), (ids.captions, 770337))
    )  # the first row of the file
    assert rated.says("i2t", image, caption) == rated.says("t2i", caption, image)
    assert rated.says("t2i", caption, image) == "rated 5.0 by CxC"
    assert known.says("t2i", caption, image) == "right by CxC"
