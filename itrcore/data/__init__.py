"""Data sets: sources, formats, vocabulary, shards, batches."""
