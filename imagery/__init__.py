"""Where pixels come from: pixel grids, collections, sources, the demo archive."""
