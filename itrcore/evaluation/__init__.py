"""Loading a run, encoding and scoring, judging, ensembles, explanations."""
