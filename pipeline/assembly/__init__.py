"""From results of runners to embeddings: stitching, grids, metadata."""
