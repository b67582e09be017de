"""Jobs: work accepted now and answered later."""
