"""A run's folder: its typed records, and what decides them."""
