"""The HTTP API of vitrivr's feature extraction server."""
