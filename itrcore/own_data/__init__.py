"""A researcher's own captions, features and pictures, made into a data set that the whole pipeline takes.

`captions` reads the table, `features` the arrays, `division` keeps duplicates together and draws the splits, `entry`
writes params.yaml, and `make` puts the folder together.
"""

from __future__ import annotations

from typing import get_args

from itrcore.settings.datasets import FeatureKind

# What a user may call features.
KINDS: tuple[str, ...] = get_args(FeatureKind)
