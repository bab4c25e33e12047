"""What the captions of a data set speak of: its most frequent things, motions and properties, and how these go together."""
