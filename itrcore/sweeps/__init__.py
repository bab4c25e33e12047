"""Sweeps: many trainings of one run with other settings, chosen and ended by Optuna by what they do on dev."""
