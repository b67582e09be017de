"""Values of ``GEOBENTO_STAC``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from geobento.config.settings import Settings
from geobento.schemas.errors import SettingsError, SourceError
from imagery.stac.catalogs.api import ApiCatalog
from imagery.stac.catalogs.factory import known_fingerprint, open_catalog
from imagery.stac.catalogs.presets import PRESETS, check_stac_location
from imagery.stac.catalogs.static import StaticCatalog
from pipeline.fetching.fetcher import ImageryFetcher
from tests.imagery.queries import bands_of, query, scene
from tests.imagery.stac.test_signing import preset
from tests.imagery.stac_server import Fault, StacServer
from tests.imagery.world import write_catalog


def test_path_url_and_preset(
    stac: StacServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path, the address of a static catalog, that of an API, a preset: each is recognised."""
    path = write_catalog([scene(10)], ("B4", "B8"), tmp_path)
    monkeypatch.setitem(PRESETS, "earth-search", preset(stac, tmp_path))
    for where, kind, name in (
        (str(path), StaticCatalog, "test-catalog"),
        (stac.file(path), StaticCatalog, "test-catalog"),
        (stac.api(tmp_path), ApiCatalog, "stand-in"),
        (f"{stac.api(tmp_path)}/", ApiCatalog, "stand-in"),
        ("earth-search", ApiCatalog, "stand-in-computer"),
    ):
        catalog = open_catalog(where, timeout_s=20)
        assert type(catalog) is kind
        assert catalog.name == name


def test_settings_lead_to_pixels(stac: StacServer, tmp_path: Path) -> None:
    """The fetch layer reads from the API that the settings name."""
    write_catalog([scene(10)], ("B4", "B8"), tmp_path)
    other = stac.url.replace("127.0.0.1", "localhost").split("//")[1]
    layer = ImageryFetcher.from_settings(Settings(stac=stac.api(tmp_path), stac_hosts=(other,)))
    np.testing.assert_array_equal(layer.source("auto").fetch(query()).pixels, bands_of(scene(10)))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("<html>", "not JSON"),
        ('{"type": "Other"}', "not a STAC catalog"),
        ('{"conformsTo": ["x/item-search"], "type": "Catalog", "id": "a", "stac_version": "1.0.0",'
         ' "description": "", "links": []}', "has no item search"),
        ('{"conformsTo": ["x/item-search"]}', "not point to a STAC API"),
    ],
)  # fmt: skip
def test_other_pages_are_no_catalog(
    stac: StacServer, tmp_path: Path, waits: list[float], body: str, message: str
) -> None:
    """Any other page is an error that says so."""
    stac.reset(faults={"landing": [Fault(body=body)] * 30})
    with pytest.raises(SourceError, match=message):
        open_catalog(stac.api(tmp_path), timeout_s=20)


def test_fingerprints_before_a_catalog_is_opened(stac: StacServer, tmp_path: Path) -> None:
    """Of APIs what they say of themselves; never what a static catalog does."""
    write_catalog([scene(10)], ("B4", "B8"), tmp_path)
    api, static = stac.api(tmp_path), stac.file(tmp_path / "catalog.json")
    assert open_catalog(api, timeout_s=20).fingerprint == known_fingerprint(api)
    assert open_catalog(static, timeout_s=20).fingerprint != known_fingerprint(static)
    assert known_fingerprint(str(tmp_path / "catalog.json")) is None
    assert known_fingerprint("earth-search") == (PRESETS["earth-search"].url,)


def test_a_location_that_cannot_be_used(tmp_path: Path) -> None:
    """A misspelt name or a missing file stops the start; the server of a URL may be back later."""
    for wrong in ("earthsearch", "Earth-Search", "catalog.json", str(tmp_path / "catalog.json")):
        with pytest.raises(SettingsError, match="GEOBENTO_STAC: got "):
            check_stac_location(wrong)
    with pytest.raises(SettingsError, match="there is no such file"):
        check_stac_location(str(tmp_path / "catalog.json"))
    for right in ("earth-search", "https://stac.example.com", str(tmp_path)):
        check_stac_location(right)
