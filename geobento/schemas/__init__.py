"""Requests, responses, model cards and errors: the types of the public contract."""
