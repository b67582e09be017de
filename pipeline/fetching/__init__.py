"""Fetching imagery for requests, with bounds on memory and concurrency."""
