"""Clients generated from the OpenAPI document: the generators' versions and settings."""
