"""Google Satellite Embedding."""
