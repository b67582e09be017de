"""Checks, statistics and quicklooks of fetched pixels."""
