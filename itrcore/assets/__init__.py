"""What a run is built from beside its settings: prepared for a training, saved in its folder, restored from there."""
