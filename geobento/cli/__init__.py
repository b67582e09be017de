"""The command line."""

from geobento.cli.app import main

__all__ = ["main"]
