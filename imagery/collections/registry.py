"""The collections that requests may name, by Earth Engine id."""

from __future__ import annotations

from geobento.schemas.errors import ModelError
from geobento.suggestions import did_you_mean
from imagery.collections.aerial import AERIAL
from imagery.collections.climate import CLIMATE
from imagery.collections.elevation import ELEVATION
from imagery.collections.embeddings import EMBEDDINGS
from imagery.collections.hls import HLS
from imagery.collections.land_cover import LAND_COVER
from imagery.collections.landsat import LANDSAT
from imagery.collections.modis import MODIS
from imagery.collections.population import POPULATION
from imagery.collections.schema import Collection
from imagery.collections.sentinel1 import SENTINEL_1
from imagery.collections.sentinel2 import SENTINEL_2

COLLECTIONS: dict[str, Collection] = {
    collection.id: collection
    for collection in (
        *SENTINEL_2,
        *SENTINEL_1,
        *HLS,
        *LANDSAT,
        *MODIS,
        *AERIAL,
        *ELEVATION,
        *LAND_COVER,
        *CLIMATE,
        *POPULATION,
        *EMBEDDINGS,
    )
}


def get(collection_id: str) -> Collection:
    """The collection with an Earth Engine id.

    Raises:
        ModelError: The id is not in the registry; the message lists the ids that are.
    """
    try:
        return COLLECTIONS[collection_id]
    except KeyError:
        raise ModelError(
            f"the collection {collection_id!r} is not known"
            f"{did_you_mean([collection_id], COLLECTIONS)}; accepted: "
            f"{', '.join(sorted(COLLECTIONS))}",
            field="sensor.collection",
        ) from None
