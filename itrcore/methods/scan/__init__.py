"""SCAN: stacked cross attention."""
