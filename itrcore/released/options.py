"""The options of `opt` that VSE++ began and its successors all read."""

from __future__ import annotations

from typing import Any

from itrcore.released.contract import Needed, Sizes
from itrcore.settings.losses import TripletSettings
from itrcore.settings.methods import ModelSettings

_MARGIN = 0.2  # their evaluations build the triplet loss too, and compute nothing with it

# No weight tells whether an encoder scales its vectors to unit length.
NORMALISED = {name: Needed(False, False) for name in ("no_imgnorm", "no_txtnorm")}


def common(model: ModelSettings, sizes: Sizes[Any, Any], data: str) -> dict[str, Any]:
    """What the released evaluations read, and what they need for the losses and optimisers that they build too."""
    loss, recipe = sizes.settings.loss, sizes.settings.recipe
    return {
        "data_name": data,
        "data_path": "data",
        "vocab_path": "vocab",
        "vocab_size": sizes.n_tokens,
        "batch_size": recipe.batch_size,
        "workers": 0,
        "img_dim": sizes.image.width,
        "embed_size": model.dim,
        "num_layers": 1,
        "precomp_enc_type": "basic",
        "backbone_source": "detector",
        "backbone_path": "",
        "margin": loss.margin if isinstance(loss, TripletSettings) else _MARGIN,
        "max_violation": True,
        "optim": "adam",
        "learning_rate": recipe.learning_rate,
        "grad_clip": recipe.clip_norm,
    }
