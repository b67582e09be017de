"""A model behind adaptive batching."""
