"""Engines that run the network of a model."""
