"""Imagery from STAC catalogs of cloud-optimized GeoTIFFs."""
