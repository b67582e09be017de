"""Precomputed annual embeddings."""

from __future__ import annotations

from imagery.collections.schema import Collection

EMBEDDINGS = (
    Collection(
        id="GOOGLE/SATELLITE_EMBEDDING/V1/ANNUAL",
        stac_collections=("satellite-embedding-v1-annual",),
        bands={f"A{axis:02d}": (f"data.{axis + 1}",) for axis in range(64)},
        units="components of unit vectors",
        nodata=-128,
        snap_m=10,
        stac_scale=1 / 127.5,
        stac_power=2,
        yearly=True,
        attribution=(
            "The AlphaEarth Foundations Satellite Embedding dataset is produced by Google and "
            "Google DeepMind."
        ),
        valid_range=(-1, 1),
    ),
)
