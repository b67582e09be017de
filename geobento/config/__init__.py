"""Settings and API keys."""
