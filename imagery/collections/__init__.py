"""Metadata of the supported collections: bands, units, masks, pixel grids."""
