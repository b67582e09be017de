"""THOR."""
