"""Losses on the similarities of a batch: components beside the methods, chosen by the recipe."""
