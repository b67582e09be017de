"""SatMAE++."""
