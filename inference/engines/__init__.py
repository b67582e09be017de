"""Faster replacements of torch layers on a CPU."""
