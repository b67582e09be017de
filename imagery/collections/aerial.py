"""Aerial imagery of the United States and of Brandenburg."""

from __future__ import annotations

from datetime import UTC, datetime

from imagery.collections.schema import Collection, EarthEngineMetadata, earth_engine_only

AERIAL = (
    Collection(
        id="USDA/NAIP/DOQQ",
        stac_collections=("naip",),
        bands={name: (f"image.{number}",) for number, name in enumerate("RGBN", start=1)},
        units="8-bit brightness",
        gee=EarthEngineMetadata(integer_range=(0, 255)),
    ),
    Collection(
        id="Germany/Brandenburg/orthos/20cm",
        stac_collections=(),
        bands=earth_engine_only(*"RGBN"),
        units="8-bit brightness",
        static=True,
        attribution=(
            "Aerial images: LGB, State government of Brandenburg, Data licence Germany - "
            "attribution - Version 2.0 (www.govdata.de/dl-de/by-2-0)."
        ),
        valid_range=(0, 255),
        gee=EarthEngineMetadata(acquisition_date=datetime(2021, 8, 23, tzinfo=UTC)),
    ),
)
