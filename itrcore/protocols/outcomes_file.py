"""outcomes.safetensors: what each image contributes to the figures by protocols beside the whole split, for intervals.

<protocol>/hits, <protocol>/asked    (n_images, n_shares) float32, as `Outcomes` has them; names and sums are JSON in the metadata
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from itrcore.files import WrongKind, parse_json, replacing
from itrcore.protocols.uncertainty import Outcomes

_ABOUT = "outcomes"


def write(path: Path, outcomes: Mapping[str, Outcomes]) -> None:
    """Write the outcomes of each protocol that has any."""
    arrays, about = dict[str, np.ndarray](), dict[str, Any]()
    for name, of in outcomes.items():
        arrays |= {f"{name}/hits": of.hits.astype(np.float32), f"{name}/asked": of.asked.astype(np.float32)}
        about[name] = {"names": of.names, "sums": {key: dict(weights) for key, weights in of.sums.items()}}
    with replacing(path) as temporary:
        save_file(arrays, temporary, {_ABOUT: json.dumps(about)})


def read(path: Path, protocol: str) -> Outcomes | None:
    """Those of one protocol; None where it has none. `OSError`, `ValueError` or safetensors' error where it is another file."""
    with safe_open(path, "np") as file:
        about = parse_json((file.metadata() or {}).get(_ABOUT, "").encode())
        if not isinstance(about, dict):
            raise WrongKind("its metadata are something else", "protocols")
        if protocol not in about:
            return None
        hits, asked = (file.get_tensor(f"{protocol}/{side}").astype(np.float64) for side in ("hits", "asked"))
    names, sums = tuple(map(str, about[protocol]["names"])), about[protocol]["sums"]
    if hits.shape != asked.shape or hits.shape[1:] != (len(names),) or not np.isfinite(hits + asked).all():
        raise WrongKind(f"arrays of shape {hits.shape} and {asked.shape}", f"finite ones of {len(names)} figures")
    return Outcomes(
        names,
        hits,
        asked,
        {str(key): {str(name): float(weight) for name, weight in of.items()} for key, of in sums.items()},
    )
