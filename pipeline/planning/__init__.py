"""From a model card and a request to a plan. Pure."""
