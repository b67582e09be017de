"""The Python functions and the HTTP clients."""
