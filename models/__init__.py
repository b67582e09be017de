"""One package per model family, and the code they share."""
