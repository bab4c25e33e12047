"""The source `simulated`: real captions in SCAN's layout, with region features made from those very captions.

It stands in for bottom-up attention's features where those are not at hand: same files, shapes and statistics, and a
signal that a method can learn. The features of an image are made from *its own captions*, those of dev and test too.
So a retrieval result on them says that code works and how fast; it says nothing about images, and is compared with no
published number. Tables that show such results call them simulated.

One image: each of its regions shows one thing as one of the captions mentions it, or something that none of them
names. A region's latent vector is the sum of fixed random prototypes (of the thing, its attributes and its actions),
of what all regions of the image share, and of noise; cubing what lies above a threshold gives the zeros, the sign and
the heavy tail of real features. Prototypes depend on the seed and the concept's name, everything else of an image on
the seed and the image's id and captions: never on other images, their order or their number.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from statistics import NormalDist
from typing import Literal

import numpy as np

from itrcore.data import scan, scan_writing
from itrcore.data.text.caption_concepts import COMMON_ACTIONS, COMMON_ATTRIBUTES, COMMON_NOUNS, Thing, find_things
from itrcore.errors import DataError
from itrcore.progress import Count
from itrcore.settings.datasets import SPLITS, SimulatedSource

# What follows defines the simulation, as the formula of a loss defines the loss; experiments vary the settings instead.
# Amplitudes in a region's signal, before that is scaled to unit variance:
THING, ATTRIBUTE, ACTION = 1.0, 0.7, 0.7
# Standard deviations relative to the signal's, of what all regions of an image share:
SHARED = 0.8
# Shares of the latent's standard deviation that belong to a dimension and to a region as a whole (how often it is 0):
DIMENSION_SPREAD, REGION_SPREAD = 0.3, 0.3
# The chance that a region does not show one of the attributes or actions that its caption tells, and that a thing gets
# no region at all though one caption names it (two captions: the square). Detectors miss things too; without this,
# each caption would leave its whole fingerprint in its image.
MISSED = 0.3
# Half of the noise's variance is a mixture of this many other concepts' prototypes: independent noise alone averages
# out over a wide feature, which would make 2048 dimensions far easier than 256.
CLUTTER = 4
# The share of the distractors (regions that show nothing the captions name) that show a common thing; the others show
# mere texture.
COMMON = 0.7
# Root mean square and maximum of bottom-up attention's features (an L2 norm of 71 at width 2048), and how far the norms
# of regions spread, as a standard deviation of their logarithm.
RMS, LARGEST, NORM_SPREAD = 1.57, 36.0, 0.15

_PROTOTYPE, _DIMENSIONS, _IMAGE = 0, 1, 2  # independent random streams of one seed
_KEPT_PROTOTYPES = 4096  # bounds memory: 32 MB at width 2048


def write_simulated(settings: SimulatedSource, folder: Path, progress: Count | None = None) -> None:
    """Write SCAN's layout of train, dev and test into the existing `folder`, streaming, so that memory stays flat.

    progress: called with (images written, images in all) after each image.
    `DataError` where the captions cannot be read or hold fewer images than `settings.images` asks for.
    """
    source = Path(settings.captions)
    wanted = {split: getattr(settings.images, split) for split in SPLITS}
    splits = {split: _read(source, getattr(settings.splits, split), split, n) for split, n in wanted.items()}
    total, done = sum(wanted.values()), 0

    def rows(image_ids: Sequence[int], captions: Sequence[Sequence[str]]) -> Iterator[np.ndarray]:
        nonlocal done
        for image_id, group in zip(image_ids, captions, strict=True):
            yield image_features(settings, image_id, group)
            done += 1
            if progress is not None:
                progress(done, total)

    for split, (image_ids, captions) in splits.items():
        shape = (len(image_ids), settings.regions, settings.width)
        # As in SCAN's Flickr30K: one id per image for train, one per caption for dev and test.
        ids_per: Literal["image", "caption"] = "image" if split == "train" else "caption"
        scan_writing.write_split(folder, split, shape, rows(image_ids, captions), image_ids, captions, ids_per)
    if (source / "id_mapping.json").exists():
        scan_writing.write_id_mapping(folder, scan.read_id_mapping(source / "id_mapping.json"))


def _read(folder: Path, name: str, split: str, wanted: int) -> tuple[list[int], list[list[str]]]:
    image_ids, captions = scan.read_captions(folder, name)
    if len(image_ids) < wanted:
        raise DataError.at(
            folder / f"{name}_ids.txt",
            f"found {len(image_ids)} images",
            f"at least {wanted}, the `images.{split}` of this data set",
            do=f"Lower `images.{split}` in params.yaml or give the whole {name} split.",
        )
    return image_ids[:wanted], captions[:wanted]


def image_features(settings: SimulatedSource, image_id: int, captions: Sequence[str]) -> np.ndarray:
    """Features of one image, (regions, width) float32, regions in random order."""
    rng = np.random.default_rng([settings.seed, _IMAGE, image_id])
    regions, width = settings.regions, settings.width
    signal = _texture(rng, regions, width)
    # At least one region shows a named thing, however large the share of distractors.
    n_named = max(1, regions - math.ceil(settings.distractors * regions))
    mentions = [find_things(caption) for caption in captions]
    shown = _shown(rng, mentions, n_named)
    named = {thing.noun for things in mentions for thing in things}
    unnamed = [noun for noun in COMMON_NOUNS if noun not in named]
    for row in range(regions):
        if row < len(shown):
            signal[row] = appearance(shown[row], settings.seed, width)
        elif rng.random() < COMMON:
            signal[row] = appearance(_distractor(rng, unnamed), settings.seed, width)
    rng.shuffle(signal)
    latent = signal + np.float32(SHARED) * _texture(rng, 1, width) + np.float32(settings.noise) * _noise(rng, settings)
    latent *= np.float32(math.sqrt((1 - DIMENSION_SPREAD**2 - REGION_SPREAD**2) / (1 + SHARED**2 + settings.noise**2)))
    latent += np.float32(REGION_SPREAD) * _texture(rng, regions, 1)
    latent += _dimension_offsets(settings.seed, width)
    features: np.ndarray = _rectified(latent, settings.zeros)
    norms = np.sqrt(np.mean(np.square(features), axis=1, keepdims=True))
    wanted_norms = np.float32(RMS) * np.exp(np.float32(NORM_SPREAD) * _texture(rng, regions, 1))
    # A narrow region may be all 0, and stays so.
    features *= wanted_norms / np.maximum(norms, np.float32(1e-6))
    np.minimum(features, np.float32(LARGEST), out=features)
    return features


def appearance(thing: Thing, seed: int, width: int) -> np.ndarray:
    """What a region that shows `thing` has in common with all that do: (width,) float32 of about unit variance."""
    total: np.ndarray = np.float32(THING) * prototype(thing.noun, seed, width)
    weights = [(concept, ATTRIBUTE) for concept in thing.attributes] + [(concept, ACTION) for concept in thing.actions]
    for concept, weight in weights:
        total = total + np.float32(weight) * prototype(concept, seed, width)
    return total / np.float32(math.sqrt(THING**2 + sum(weight**2 for _, weight in weights)))


@lru_cache(maxsize=_KEPT_PROTOTYPES)
def prototype(concept: str, seed: int, width: int) -> np.ndarray:
    """The fixed random vector of a concept, (width,) float32, standard normal. Shared: not to be changed in place."""
    # Not Python's hash(): that differs from one process to the next.
    key = int.from_bytes(hashlib.sha256(concept.encode()).digest()[:8], "big")
    vector = np.random.default_rng([seed, _PROTOTYPE, key]).standard_normal(width, np.float32)
    vector.flags.writeable = False
    return vector


def _shown(rng: np.random.Generator, mentions: list[list[Thing]], room: int) -> list[Thing]:
    """Which mentions get a region: the things most captions name come first, each once, then again while there is room.

    Each region shows its thing as one caption puts it, so that "a man in a red hat and a man asleep" stay two men.
    """
    by_noun: dict[str, list[Thing]] = {}
    counts: dict[str, int] = {}
    for things in mentions:
        for thing in things:
            by_noun.setdefault(thing.noun, []).append(thing)
        for noun in dict.fromkeys(thing.noun for thing in things):
            counts[noun] = counts.get(noun, 0) + 1
    nouns = sorted(by_noun, key=lambda noun: -counts[noun])
    nouns = [noun for noun in nouns if rng.random() >= MISSED ** counts[noun]]
    queues = {noun: [by_noun[noun][i] for i in rng.permutation(len(by_noun[noun]))] for noun in nouns}
    shown: list[Thing] = []
    for turn in range(max((len(queue) for queue in queues.values()), default=0)):
        shown += [queues[noun][turn] for noun in nouns if turn < len(queues[noun])]
    return [_glimpse(rng, thing) for thing in shown[:room]]


def _glimpse(rng: np.random.Generator, thing: Thing) -> Thing:
    """The thing with only some of its attributes and actions."""
    attributes = [concept for concept in thing.attributes if rng.random() >= MISSED]
    return Thing(thing.noun, attributes, [concept for concept in thing.actions if rng.random() >= MISSED])


def _distractor(rng: np.random.Generator, unnamed: Sequence[str]) -> Thing:
    """Something everyday that no caption of the image names, at times with a look and an action of its own."""
    thing = Thing(_pick(rng, unnamed))
    if rng.random() < 0.5:
        thing.attributes.append(_pick(rng, COMMON_ATTRIBUTES))
    if rng.random() < 0.25:
        thing.actions.append(_pick(rng, COMMON_ACTIONS))
    return thing


def _pick(rng: np.random.Generator, words: Sequence[str]) -> str:
    return words[int(rng.integers(len(words)))]


def _texture(rng: np.random.Generator, rows: int, width: int) -> np.ndarray:
    return rng.standard_normal((rows, width), np.float32)


def _noise(rng: np.random.Generator, settings: SimulatedSource) -> np.ndarray:
    """Noise of unit variance, (regions, width): half independent, half other concepts that shine through."""
    noise = _texture(rng, settings.regions, settings.width)
    pool = COMMON_NOUNS + COMMON_ATTRIBUTES + COMMON_ACTIONS
    scale = np.float32(1 / math.sqrt(CLUTTER))
    for row in noise:
        for _ in range(CLUTTER):
            row += scale * prototype(_pick(rng, pool), settings.seed, settings.width)
    return noise * np.float32(math.sqrt(0.5))


@lru_cache(maxsize=4)
def _dimension_offsets(seed: int, width: int) -> np.ndarray:
    """Some dimensions are 0 more often than others: a normal's evenly spaced quantiles, so that few balance as well."""
    normal = NormalDist(sigma=DIMENSION_SPREAD)
    offsets = np.array([normal.inv_cdf((i + 0.5) / width) for i in range(width)], np.float32)
    return np.random.default_rng([seed, _DIMENSIONS]).permutation(offsets)


def _rectified(latent: np.ndarray, zeros: float) -> np.ndarray:
    """Zero the lowest share `zeros` of one image's entries and cube what the others have above those."""
    rank = round(zeros * latent.size) - 1
    threshold = np.partition(latent, rank, axis=None)[rank] if rank >= 0 else latent.min() - np.float32(1e-3)
    above: np.ndarray = np.maximum(latent - threshold, np.float32(0))
    # The quantiles of real features follow those of a normal variable above a threshold to the power 2.85 or so; a cube
    # is as close as matters and, being two multiplications, gives the same bits on every processor.
    cubed: np.ndarray = above * above * above
    return cubed
