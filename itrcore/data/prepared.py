"""Opening a prepared data set by its name: the shards, captions and vocabulary that the stages made."""

from __future__ import annotations

from itrcore import layout
from itrcore.data import captions
from itrcore.data.batches import Split
from itrcore.data.shards.regions import FeatureStore
from itrcore.data.vocabulary import Vocabulary


def open_split(data: str, split: str, vocabulary: Vocabulary, verify: bool = False) -> Split:
    """A split of a prepared data set; `verify` reads every shard once and refuses a damaged one."""
    store = FeatureStore(layout.region_shards(data), split)
    if verify:
        store.verify()
    return Split.open(store, captions.read(layout.captions(data), split), vocabulary)
