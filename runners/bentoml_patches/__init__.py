"""Changes to private parts of BentoML, each with its reason and upstream version range."""
