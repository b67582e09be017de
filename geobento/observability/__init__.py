"""Request context and metrics."""
