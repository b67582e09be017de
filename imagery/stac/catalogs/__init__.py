"""STAC catalogs: APIs, static catalogs, stac-geoparquet."""
