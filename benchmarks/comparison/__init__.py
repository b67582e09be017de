"""This service beside others that make the same vectors: ``python -m benchmarks.comparison``."""
