"""Checkpoints, the model hub, the importer and the model store."""
