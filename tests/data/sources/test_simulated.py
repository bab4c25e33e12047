"""The simulated source: what captions name, and features that carry it, with real features' statistics and no more."""

from __future__ import annotations

import gzip
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from itrcore.data import scan, scan_writing
from itrcore.data.sources.simulated import appearance, image_features, write_simulated
from itrcore.data.text.caption_concepts import COMMON_NOUNS, find_things, stem
from itrcore.errors import DataError
from itrcore.settings.datasets import SimulatedSource, SplitNames, SplitSizes
from tests.conftest import ROOT

LOOKS = ["red", "blue", "green", "yellow", "black", "white", "small", "large", "old", "wooden"]
THINGS = ["dog", "cat", "horse", "boat", "chair", "tower", "piano", "kite", "lamp", "tractor"]
DEEDS = ["walk", "jump", "sleep", "eat", "dance"]


def settings(folder: Path | str = "", **changes: object) -> SimulatedSource:
    values: dict[str, object] = {
        "kind": "simulated",
        "seed": 3,
        "captions": str(folder),
        "splits": SplitNames(train="train", dev="dev", test="testall"),
        "images": SplitSizes(train=6, dev=3, test=4),
        "regions": 12,
        "width": 64,
        "zeros": 0.34,
        "noise": 0.5,
        "distractors": 0.4,
    }
    return SimulatedSource(**{**values, **changes})  # type: ignore[arg-type]


def made_up(n_images: int, seed: int = 0) -> list[list[str]]:
    """Three captions for each image, about the same three things."""
    rng = np.random.default_rng(seed)
    groups = []
    for _ in range(n_images):
        a, b, c = rng.choice(THINGS, 3, replace=False)
        x, y, z = rng.choice(LOOKS, 3)
        deed = rng.choice(DEEDS)
        groups.append(
            [f"A {x} {a} is {deed}ing near a {y} {b} .", f"The {a} stands by a {z} {c} .", f"A {y} {b} and a {z} {c} ."]
        )
    return groups


def write_captions(folder: Path, sizes: dict[str, int]) -> None:
    folder.mkdir(parents=True)
    first = 0
    for split, n in sizes.items():
        text = "".join(f"{line}\n" for group in made_up(n, first) for line in group)
        if split == "train":
            (folder / f"{split}_caps.txt.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
        else:
            (folder / f"{split}_caps.txt").write_text(text, "utf-8")
        (folder / f"{split}_ids.txt").write_text("".join(f"{first + i}\n" for i in range(n)), "utf-8")
        first += n


def named(caption: str) -> dict[str, tuple[set[str], set[str]]]:
    return {thing.noun: (set(thing.attributes), set(thing.actions)) for thing in find_things(caption)}


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("A young man in a blue shirt is playing the guitar .", "man/young/play shirt/blue guitar"),
        ("Two men in green shirts are standing in a yard .", "man/two/stand shirt/green yard"),
        ("A black and white dog runs through the grass .", "dog/black,white/run grass"),
        ("Two soccer players kick a ball .", "player/two,soccer/kick ball"),
        ("A group of people stand in front of a large brick building .", "person//stand building/large,brick"),
        (
            "A smiling woman wearing sunglasses holds a little girl 's hand .",
            "woman/smiling/wear,hold sunglasses girl/little hand",
        ),
        ("The boy in the red cap runs and jumps , holding a bat .", "boy//run,jump,hold cap/red bat"),
        ("A snow covered mountain .", "mountain/snow,covered"),
        ("a man and a woman sitting on a wooden bench", "man//sit woman//sit bench/wooden"),
        ("Children swim and play in an outdoor pool .", "child//swim,play pool/outdoor"),
        ("A man in a hat takes a picture of a dog that is jumping .", "man//take hat dog//jump"),
        ("A boy tries to catch an orange .", "boy//catch orange"),
        ("There is an elderly lady eating at a restaurant .", "lady/elderly/eat restaurant"),
        ("A couple walks along the beach while a child digs .", "couple//walk beach child//dig"),
        ("The bus is yellow .", "bus/yellow"),
        ("A man looks at a dog leaping over a fence .", "man//look dog//leap fence"),
        ("Sitting on a bench , an old man reads .", "bench man/old/sit,read"),
        ("Running through the park .", "park//run"),
        ("A man working .", "man//work"),
        ("Running .", ""),
    ],
)
def test_finds_what_a_person_would_name(caption: str, expected: str) -> None:
    wanted = {}
    for item in expected.split():
        noun, attributes, actions = [*item.split("/"), "", ""][:3]
        wanted[stem(noun)] = tuple({stem(word) for word in part.split(",") if word} for part in (attributes, actions))
    assert named(caption) == wanted


def test_concepts_do_not_depend_on_inflection_or_case() -> None:
    assert named("A Woman rides a HORSE .") == named("the women riding horses")


def test_writes_scans_layout(tmp_path: Path) -> None:
    source, out = tmp_path / "captions", tmp_path / "out"
    write_captions(source, {"train": 8, "dev": 3, "testall": 5})
    scan_writing.write_id_mapping(source, {i: f"{i}.jpg" for i in range(16)})
    out.mkdir()
    steps: list[tuple[int, int]] = []
    write_simulated(settings(source), out, progress=lambda done, total: steps.append((done, total)))

    assert steps == [(i + 1, 13) for i in range(13)]
    assert scan.read_id_mapping(out / "id_mapping.json") == scan.read_id_mapping(source / "id_mapping.json")
    for split, name, n in (("train", "train", 6), ("dev", "dev", 3), ("test", "testall", 4)):
        ids, captions = scan.read_captions(source, name)
        assert scan.read_captions(out, split) == (ids[:n], captions[:n])
        # as in SCAN's Flickr30K
        id_lines = (out / f"{split}_ids.txt").read_text("utf-8").splitlines()
        assert len(id_lines) == (n if split == "train" else 3 * n)
        features = np.load(out / f"{split}_ims.npy")
        assert features.shape == (n, 12, 64)
        assert features.dtype == np.float32
        for row, image_id, group in zip(features, ids[:n], captions[:n], strict=True):
            np.testing.assert_array_equal(row, image_features(settings(source), image_id, group))


def test_works_without_an_id_mapping(tmp_path: Path) -> None:
    write_captions(tmp_path / "captions", {"train": 6, "dev": 3, "testall": 4})
    (tmp_path / "out").mkdir()
    write_simulated(settings(tmp_path / "captions"), tmp_path / "out")
    assert not (tmp_path / "out" / "id_mapping.json").exists()


def test_same_seed_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    write_captions(tmp_path / "captions", {"train": 6, "dev": 3, "testall": 4})
    files = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        (tmp_path / name).mkdir()
        write_simulated(settings(tmp_path / "captions", seed=seed), tmp_path / name)
        files.append({path.name: path.read_bytes() for path in sorted((tmp_path / name).iterdir())})
    assert files[0] == files[1]
    assert files[0]["test_ims.npy"] != files[2]["test_ims.npy"]
    # Noise included: it must not be the same for every seed.
    noisy = [image_features(settings(noise=9.0, width=512, seed=seed), 1, ["Running ."]).ravel() for seed in (3, 4)]
    assert abs(np.corrcoef(noisy)[0, 1]) < 0.1


def test_an_image_does_not_depend_on_the_others(tmp_path: Path) -> None:
    write_captions(tmp_path / "captions", {"train": 6, "dev": 3, "testall": 4})
    for name, n in (("few", 2), ("many", 6)):
        (tmp_path / name).mkdir()
        changed = settings(tmp_path / "captions", images=SplitSizes(train=n, dev=1, test=1))
        write_simulated(changed, tmp_path / name)
    few, many = (np.load(tmp_path / name / "train_ims.npy") for name in ("few", "many"))
    np.testing.assert_array_equal(few, many[:2])
    # Nor on what was made before it in the same process.
    group = made_up(1)[0]
    before = image_features(settings(), 7, group)
    for i, other in enumerate(made_up(5, seed=1)):
        image_features(settings(), i, other)
    np.testing.assert_array_equal(image_features(settings(), 7, group), before)


@pytest.mark.parametrize(("regions", "width", "zeros"), [(36, 256, 0.34), (36, 256, 0.0), (10, 64, 0.6), (4, 32, 0.34)])
def test_statistics_are_those_of_real_features(regions: int, width: int, zeros: float) -> None:
    source = settings(regions=regions, width=width, zeros=zeros)
    features = np.stack([image_features(source, i, group) for i, group in enumerate(made_up(60))])
    assert features.dtype == np.float32
    assert np.isfinite(features).all()
    assert (features >= 0).all()
    assert (features == 0).mean() == pytest.approx(zeros, abs=0.01)
    # bottom-up attention's L2 norm of 71.7 at width 2048, its heavy tail and its maximum of 35.3
    norms = np.linalg.norm(features, axis=2) / np.sqrt(width)
    assert norms.mean() == pytest.approx(71.7 / np.sqrt(2048), rel=0.06)
    assert features.max() <= 36.0
    if zeros == 0.34 and width > 32:
        shares = np.percentile(features, [50, 75, 90, 99, 99.9])
        np.testing.assert_allclose(shares, [0.046, 0.512, 1.80, 7.24, 15.06], rtol=0.15, atol=0.03)
        per_dimension = np.percentile((features == 0).mean(axis=(0, 1)), [1, 99])
        np.testing.assert_allclose(per_dimension, [0.083, 0.664], atol=0.1)


def test_regions_of_one_image_are_more_alike_than_those_of_two() -> None:
    features = np.stack([image_features(settings(width=512), i, group) for i, group in enumerate(made_up(20))])
    unit = features / np.linalg.norm(features, axis=2, keepdims=True)
    cosines = np.einsum("ird,jsd->ijrs", unit, unit)
    same = np.mean([cosines[i, i][~np.eye(12, dtype=bool)].mean() for i in range(20)])
    other = cosines[~np.eye(20, dtype=bool)].mean()
    assert same > other + 0.1


def alike(features: np.ndarray, captions: list[list[str]], source: SimulatedSource) -> np.ndarray:
    """An oracle's scores, (images, captions): it knows each concept's appearance and takes the best region for each."""
    latent = np.cbrt(features)
    latent -= latent.mean(axis=(0, 1))
    latent -= latent.mean(axis=1, keepdims=True)
    latent /= np.linalg.norm(latent, axis=2, keepdims=True)
    scores = []
    for caption in (caption for group in captions for caption in group):
        wanted = np.stack([appearance(thing, source.seed, source.width) for thing in find_things(caption)])
        scores.append((latent @ wanted.T).max(axis=1).mean(axis=1))
    return np.stack(scores, axis=1)


def recall(scores: np.ndarray, per_image: int) -> float:
    """Share of captions whose own image scores highest."""
    return float((scores.argmax(axis=0) == np.arange(scores.shape[1]) // per_image).mean())


def test_features_carry_what_the_captions_name_and_nothing_else() -> None:
    source, captions = settings(regions=16, width=256), made_up(100)
    features = np.stack([image_features(source, i, group) for i, group in enumerate(captions)])
    scores = alike(features, captions, source)
    assert 0.4 < recall(scores, 3) < 0.99  # chance is 0.01
    shifted = captions[37:] + captions[:37]
    assert recall(alike(features, shifted, source), 3) < 0.05
    # Ids and the order of images must say nothing either: the same captions under other ids are found as well.
    other = np.stack([image_features(source, 1000 - i, group) for i, group in enumerate(captions)])
    assert 0.4 < recall(alike(other, captions, source), 3) < 0.99


def test_more_noise_is_harder() -> None:
    captions = made_up(60)
    recalls = []
    for noise in (0.0, 4.0):
        source = settings(regions=16, width=128, noise=noise)
        features = np.stack([image_features(source, i, group) for i, group in enumerate(captions)])
        recalls.append(recall(alike(features, captions, source), 3))
    assert recalls[0] > recalls[1] + 0.2


def test_splits_share_their_concepts() -> None:
    """What is learnt on one set of images must hold on another: the same thing looks alike under any image id."""
    source = settings(regions=4, width=512, noise=0.0, distractors=0.0)
    kite = appearance(find_things("A kite .")[0], source.seed, source.width)
    lamp = appearance(find_things("A lamp .")[0], source.seed, source.width)
    images = np.cbrt(
        np.stack([image_features(source, i, ["A kite .", "The kite .", "A big kite ."]) for i in range(40)])
    )
    for half in (images[:20], images[20:]):
        shown = half.mean(axis=(0, 1))
        assert np.corrcoef(shown, kite)[0, 1] > 0.5 > 0.2 > abs(np.corrcoef(shown, lamp)[0, 1])


@pytest.mark.parametrize(("share", "named_regions"), [(0.0, 10), (0.5, 5), (0.75, 2), (0.99, 1)])
def test_at_least_the_share_of_distractors(share: float, named_regions: int) -> None:
    """With ten mentions of one thing, exactly the regions not set aside show it."""
    source = settings(regions=10, width=2048, noise=0.0, distractors=share)
    word = next(noun for noun in THINGS if stem(noun) not in COMMON_NOUNS)
    features = np.cbrt(image_features(source, 5, [f"A {word} ."] * 10))
    thing = appearance(find_things(f"A {word} .")[0], source.seed, source.width)
    shown = [np.corrcoef(row, thing)[0, 1] for row in features]
    assert sum(value > 0.3 for value in shown) == named_regions


def test_regions_come_in_random_order() -> None:
    """A model must not learn that the first region is what the captions are about."""
    source = settings(regions=10, width=512, noise=0.0, distractors=0.9)
    thing = appearance(find_things("A tractor .")[0], source.seed, source.width)
    places = set()
    for image_id in range(40):
        features = np.cbrt(image_features(source, image_id, ["A tractor ."] * 5))
        places.add(int(np.argmax([np.corrcoef(row, thing)[0, 1] for row in features])))
    assert len(places) >= 7


def test_captions_that_name_nothing_still_get_features() -> None:
    features = image_features(settings(), 1, ["Running .", "..."])
    assert features.shape == (12, 64)
    assert features.any()


CHILD = """
import hashlib, os, sys
opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
sys.path.insert(0, sys.argv[1])
from itrcore.settings.datasets import SimulatedSource
from itrcore.data.sources.simulated import image_features
source = SimulatedSource.model_validate_json(sys.argv[2])
digest = hashlib.sha256(image_features(source, 11, sys.argv[3:]).tobytes()).hexdigest()
print(digest, any(path.startswith(os.environ["NLTK_DATA"]) for path in opened))
"""


def test_neither_nltk_data_nor_the_process_changes_anything(tmp_path: Path) -> None:
    """Another process, with other string hashes and nltk data that would mislead: same bytes, and the data unopened."""
    for name in ("taggers/averaged_perceptron_tagger_eng/averaged_perceptron_tagger_eng.weights.json",
                 "tokenizers/punkt_tab/english/abbrev_types.txt", "corpora/stopwords/english"):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("man\ndog\nplaying\n", "utf-8")
    group = ["A young man is playing with two dogs .", "The dogs run after a red ball ."]
    expected = hashlib.sha256(image_features(settings(), 11, group).tobytes()).hexdigest()
    command = [sys.executable, "-c", CHILD, str(ROOT), settings().model_dump_json(), *group]
    environment = {**os.environ, "NLTK_DATA": str(tmp_path), "PYTHONHASHSEED": "1"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert result.stdout.split() == [expected, "False"]


def test_too_few_images_is_an_error_that_names_file_and_counts(tmp_path: Path) -> None:
    write_captions(tmp_path / "captions", {"train": 6, "dev": 2, "testall": 4})
    (tmp_path / "out").mkdir()
    with pytest.raises(DataError, match=r"dev_ids\.txt.*found 2 images.*at least 3"):
        write_simulated(settings(tmp_path / "captions"), tmp_path / "out")
    assert not any((tmp_path / "out").iterdir()), "counts are checked before anything is written"


def test_real_captions(shared_data: Path) -> None:
    """On Flickr30K's test captions the oracle is far above chance (0.3 % of captions here) and far from perfect."""
    ids, captions = scan.read_captions(shared_data / "f30k_scan", "test")
    ids, captions = ids[:300], captions[:300]
    things = [len(find_things(caption)) for group in captions for caption in group]
    assert np.mean(things) > 2.5
    assert np.mean(np.array(things) == 0) < 0.01
    source = settings(regions=36, width=256, noise=1.0, distractors=0.7)
    features = np.stack([image_features(source, i, group) for i, group in zip(ids, captions, strict=True)])
    assert 0.5 < recall(alike(features, [group[:1] for group in captions], source), 1) < 0.95
