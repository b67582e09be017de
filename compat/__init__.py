"""Other servers' HTTP APIs over the same pipeline."""
