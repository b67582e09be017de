"""Released checkpoints: reading, conversion and comparison with a network."""
