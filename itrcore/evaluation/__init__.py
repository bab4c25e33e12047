"""Similarities, ranks, ensembles: a trained method on the test split."""
