"""What a run is made of, by the names that settings use: for each name the place of its code, as `module:name`.

Nothing is imported before it is needed. So a run loads only the code of its own method, encoders and loss, and depends on no
other (`itrcore/runs/inputs.py`). A new method adds one line to METHODS, a new protocol one to PROTOCOLS.
"""

from __future__ import annotations

from pkgutil import resolve_name
from typing import Any, NamedTuple

_METHODS = "itrcore.methods"

# `model.kind` → the class of its settings; the class of the method, or a function, called with (settings, image, text)
METHODS = {
    "coder": (f"{_METHODS}.coder.settings:CODERSettings", f"{_METHODS}.coder.coder:CODER"),
    "dual": (f"{_METHODS}.dual.settings:DualSettings", f"{_METHODS}.dual.dual:Dual"),
    "esa": (f"{_METHODS}.vse.settings:ESASettings", f"{_METHODS}.vse.esa:ESA"),
    "esl": (f"{_METHODS}.esl.settings:ESLSettings", f"{_METHODS}.esl.esl:ESL"),
    "esl_clip": (f"{_METHODS}.esl.settings:ESLCLIPSettings", f"{_METHODS}.esl.esl_clip:ESLCLIP"),
    "lhsc": (f"{_METHODS}.sgraf.settings:LHSCSettings", f"{_METHODS}.sgraf.lhsc:LHSC"),
    "scan": (f"{_METHODS}.scan.settings:SCANSettings", f"{_METHODS}.scan.scan:scan"),
    "sgraf": (f"{_METHODS}.sgraf.settings:SGRAFSettings", f"{_METHODS}.sgraf.sgraf:SGRAF"),
    "vse": (f"{_METHODS}.vse.settings:VSESettings", f"{_METHODS}.vse.vse:VSE"),
}

# `loss.kind` → its class
LOSSES = {
    "diversity": "itrcore.layers.losses.diversity:Diversity",
    "hinge": "itrcore.layers.losses.triplet:Hinge",
    "self_expanding": "itrcore.layers.losses.triplet:SelfExpanding",
    "sigmoid": "itrcore.layers.losses.sigmoid:Sigmoid",
    "symmetric": "itrcore.layers.losses.symmetric:Symmetric",
}

# `loss.kind` of a loss that is built around one of LOSSES → the class of what a training with it minimises
OBJECTIVES = {"momentum_contrast": f"{_METHODS}.momentum:MomentumObjective"}

# `model.text.kind` → the module with `prepare` and `restore` of such a text side (`itrcore/assets/text.py`)
TEXT_SIDES = {
    "bert": "itrcore.assets.pieces",
    "bigru": "itrcore.assets.words",
    "clip": "itrcore.assets.clip",
    "towers": "itrcore.assets.towers",
}

# `ModelSettings.images` → the module with `prepare` and `restore` of such an image side (`itrcore/assets/image.py`)
IMAGE_SIDES = {
    "grid": "itrcore.assets.grid",
    "pictures": "itrcore.assets.pictures",
    "regions": "itrcore.assets.regions",
}

# `RegionInput.kind`, `PixelInput.kind` → the class that reads such images from shards
READERS = {
    "pixels": "itrcore.data.feeding.pixels:PixelImages",
    "regions": "itrcore.data.feeding.regions:RegionImages",
}

_GRID = "itrcore.extraction.published:Grid"

# `features.extractor.kind` → the class of what computes such region features, called with (settings, device)
EXTRACTORS = {
    "lite0": "itrcore.extraction.lite:Lite0",
    **dict.fromkeys(("clip", "siglip", "dinov2", "resnet"), _GRID),
    "detr": "itrcore.extraction.published:Detr",
}


class Listed(NamedTuple):
    """A protocol: its place, and what its data set must be and give. reads: the key of the data set that names files it needs"""

    place: str
    benchmark: str | None = None
    reads: str | None = None


_PROTOCOLS = "itrcore.protocols"
WHOLE_SPLIT = "split"  # the protocol that every data set is judged by

# Name in `datasets.*.protocols` → a `Protocol` (`itrcore/protocols/contract.py`); `split` is never named there
PROTOCOLS = {
    WHOLE_SPLIT: Listed(f"{_PROTOCOLS}.split:PROTOCOL"),
    "coco_1k": Listed(f"{_PROTOCOLS}.coco_1k:PROTOCOL", "coco"),
    "eccv": Listed(f"{_PROTOCOLS}.eccv:PROTOCOL", "coco"),
    "cxc": Listed(f"{_PROTOCOLS}.cxc:LEFT_OUT", "coco"),
    "cxc_every_caption": Listed(f"{_PROTOCOLS}.cxc:MISSED", "coco"),
    "cxc_own_pairs": Listed(f"{_PROTOCOLS}.cxc:OWN_TOO", "coco"),
    "cxc_within": Listed(f"{_PROTOCOLS}.cxc_within:PROTOCOL", "coco", "cxc"),
    "cxc_correlations": Listed(f"{_PROTOCOLS}.cxc_correlations:PROTOCOL", "coco", "cxc"),
    "sugar_crepe": Listed(f"{_PROTOCOLS}.sugar_crepe:PROTOCOL", "coco", "negatives"),
    "rococo": Listed(f"{_PROTOCOLS}.rococo:PROTOCOL", "coco", "altered"),
}

# Key of a data set that names captions beside its own → what `evaluate` scores them with (`itrcore/evaluation/further.py`)
FURTHER = {
    "negatives": "itrcore.evaluation.negatives:prepare",
    "altered": "itrcore.evaluation.altered:prepare",
}


def load(place: str) -> Any:
    """The module, or what `module:name` names."""
    return resolve_name(place)


def module(place: str) -> str:
    """The module of a place."""
    return place.partition(":")[0]
