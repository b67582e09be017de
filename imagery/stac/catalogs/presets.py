"""Public catalogs that are known by a word."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from geobento.schemas.errors import SettingsError
from geobento.suggestions import did_you_mean


@dataclass(frozen=True)
class CatalogPreset:
    """A STAC API and what there is to know about it.

    Attributes:
        name: The word.
        url: Its landing page.
        collections: STAC ids of those of its collections whose files are read: they are COGs,
            open to all or after signing.
        hosts: Where its files lie, see `imagery.stac.http.Hosts`.
        buckets: Base URLs of the S3 buckets that its items name.
        token_url: Where a token for a storage container is asked for; None: files are open.
    """

    name: str
    url: str
    collections: frozenset[str]
    hosts: tuple[str, ...]
    buckets: Mapping[str, str] = field(default_factory=dict)
    token_url: str | None = None


PRESETS = {
    preset.name: preset
    for preset in (
        CatalogPreset(
            name="earth-search",
            url="https://earth-search.aws.element84.com/v1",
            collections=frozenset({"sentinel-2-l2a", "sentinel-2-c1-l2a", "cop-dem-glo-30"}),
            hosts=(
                "sentinel-cogs.s3.us-west-2.amazonaws.com",
                "e84-earth-search-sentinel-data.s3.us-west-2.amazonaws.com",
                "copernicus-dem-30m.s3.amazonaws.com",
            ),
            buckets={
                "sentinel-cogs": "https://sentinel-cogs.s3.us-west-2.amazonaws.com",
                "e84-earth-search-sentinel-data": (
                    "https://e84-earth-search-sentinel-data.s3.us-west-2.amazonaws.com"
                ),
                "copernicus-dem-30m": "https://copernicus-dem-30m.s3.amazonaws.com",
            },
        ),
        CatalogPreset(
            name="planetary-computer",
            url="https://planetarycomputer.microsoft.com/api/stac/v1",
            collections=frozenset(
                {
                    "sentinel-2-l2a",
                    "sentinel-1-rtc",
                    "hls2-s30",
                    "hls2-l30",
                    "landsat-c2-l2",
                    "modis-09A1-061",
                    "naip",
                    "cop-dem-glo-30",
                }
            ),
            hosts=(".blob.core.windows.net",),
            token_url="https://planetarycomputer.microsoft.com/api/sas/v1/token",
        ),
    )
}


def check_stac_location(location: str) -> None:
    """Look whether a value of ``GEOBENTO_STAC`` can be a catalog; no host is asked.

    A path whose file is not there is a source that is down, and may come back.

    Raises:
        SettingsError: It is a word, and none of `PRESETS`.
    """
    if location not in PRESETS and "/" not in location and not Path(location).is_file():
        raise SettingsError(
            f"GEOBENTO_STAC: got {location!r}; accepted: {', '.join(PRESETS)}, the URL of a STAC API "
            f"or of a static catalog, or the path of a catalog.json{did_you_mean([location], PRESETS)}"
        )
