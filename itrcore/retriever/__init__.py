"""A trained run in use: it encodes pictures and texts that nobody prepared, compares them and searches among them."""
