"""Everything that params.yaml and recipes may say: types, limits, reading, checking, editing. No torch here."""
