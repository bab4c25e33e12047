"""ESL: every word against every region, level by level; and ESL on CLIP."""
