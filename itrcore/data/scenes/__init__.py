"""The embedded data set: small drawn rooms with objects, captioned by a grammar, with region features."""
