"""Networks that no kept library carries."""
