"""The HTTP edge: bodies in, answers and errors out, the documentation."""
