"""A trained run loaded, its similarities on test, ensembles, explanations."""
