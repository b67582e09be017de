"""Imagery: pixel grids, collections, sources and the demo archive."""
