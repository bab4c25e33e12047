"""Where data sets come from: SCAN's files, Karpathy's JSON, published shards, programs that make them."""
