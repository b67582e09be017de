"""A cache of fetched pixels on disk, and single flight for concurrent fetches."""
