"""The collections that requests may name: bands, units, masks, resolution."""
