"""Opening a prepared data set by its name: the shards and captions that the stages made."""

from __future__ import annotations

from itrcore import layout
from itrcore.data import captions
from itrcore.data.batches import Split
from itrcore.data.shards.regions import FeatureStore, ShardInfo
from itrcore.data.tokens import Tokeniser
from itrcore.files import digest, sha256


def open_split(data: str, split: str, tokeniser: Tokeniser, verify: bool = False) -> Split:
    """A split of a prepared data set; `verify` reads every shard once and refuses a damaged one."""
    store = FeatureStore(layout.region_shards(data), split)
    if verify:
        store.verify()
    return Split.open(store, captions.read(layout.captions(data), split), tokeniser)


def state_digest(data: str) -> str:
    """Of the data set's captions and region features: results of the same digest can be compared and averaged."""
    return digest([ShardInfo.read(layout.region_shards(data)).digest, sha256(layout.captions(data))])
