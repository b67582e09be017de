"""A request's way: resolve, fetch, prepare, encode, answer."""
