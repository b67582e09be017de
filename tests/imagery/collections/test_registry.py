"""The table of collections."""

from __future__ import annotations

import pytest

from geobento.schemas.errors import ModelError
from imagery.collections import registry
from imagery.collections.schema import Collection
from imagery.stac.catalogs.presets import PRESETS, CatalogPreset
from imagery.stac.planner import get_stac_collection


def test_band_names_of_both_catalogs() -> None:
    """Common names and zero-padded ones lead to the same band; 8A keeps its name."""
    bands = registry.get("COPERNICUS/S2_SR_HARMONIZED").bands
    assert bands["B4"] == ("red", "B04")
    assert bands["B8A"] == ("nir08", "B8A")
    assert bands["B11"] == ("swir16", "B11")
    assert "B10" not in bands


def test_an_unknown_collection_is_named_with_the_known() -> None:
    """The message lists what is accepted."""
    with pytest.raises(ModelError, match="COPERNICUS/S2_SR_HARMONIZED") as caught:
        registry.get("COPERNICUS/S9")
    assert caught.value.field == "sensor.collection"


def test_a_collection_that_stac_lacks_names_who_has_it() -> None:
    """No catalog is read for MODIS; of Landsat another catalog than this one has what is read."""
    with pytest.raises(
        ModelError, match=r"from STAC catalogs; Earth Engine has it \(backend 'gee'"
    ):
        get_stac_collection("MODIS/061/MOD09GA")
    landsat, held = "LANDSAT/LC08/C02/T1_L2", PRESETS["earth-search"].collections
    with pytest.raises(ModelError, match=r"'earth-search'; Earth .*, and .* 'planetary-computer'$"):
        get_stac_collection(landsat, "earth-search", held)
    assert get_stac_collection(landsat, "mine").stac_collections
    assert get_stac_collection(landsat, "mine", frozenset({"landsat-c2-l2", "x"})).stac_collections


@pytest.mark.parametrize("preset", PRESETS.values(), ids=lambda preset: preset.name)
def test_presets_and_the_table_name_the_same_collections(preset: CatalogPreset) -> None:
    """Every collection of a preset is one of the table, and all is over https."""
    known = {
        name for collection in registry.COLLECTIONS.values() for name in collection.stac_collections
    }
    assert preset.collections <= known
    assert all(
        url is None or url.startswith("https://")
        for url in (preset.url, preset.token_url, *preset.buckets.values())
    )


@pytest.mark.parametrize("collection", registry.COLLECTIONS.values(), ids=lambda c: c.id)
def test_every_entry_is_consistent(collection: Collection) -> None:
    """Scalings are of bands that there are; masks hide something; STAC bands have keys."""
    assert set(collection.scaling) <= set(collection.bands)
    assert all(
        bool(keys) == bool(collection.stac_collections) for keys in collection.bands.values()
    )
    mask = collection.mask
    assert mask is None or bool(mask.classes) != bool(mask.bits)
    assert bool(collection.gee.tile_property) == bool(collection.gee.processing_properties)


def test_raw_values_become_physical() -> None:
    """Factor and offset of reflectance and of temperature differ."""
    scaling = registry.get("LANDSAT/LC09/C02/T1_L2").scaling
    factor, offset = scaling["SR_B4"]
    assert 20_000 * factor + offset == pytest.approx(0.35)
    factor, offset = scaling["ST_B10"]
    assert 44_000 * factor + offset == pytest.approx(299.39, abs=0.01)
