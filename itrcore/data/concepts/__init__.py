"""The concepts of a data set: words that stand for objects, properties and motions, and how they go together."""
