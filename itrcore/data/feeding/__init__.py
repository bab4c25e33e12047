"""From shards and captions to the batches that methods are given."""
