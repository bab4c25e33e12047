"""A run's folder: its typed records, what decides them, and loading its model."""
