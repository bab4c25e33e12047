"""Checkpoints as the methods' released codes write them: read, checked entry by entry, and written back."""
