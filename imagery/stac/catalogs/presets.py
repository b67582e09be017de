"""Presets of public STAC catalogs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from geobento.schemas.errors import SettingsError
from geobento.suggestions import did_you_mean


@dataclass(frozen=True)
class CatalogPreset:
    """A public STAC API.

    Attributes:
        name: Name of the preset.
        url: URL of the landing page.
        collections: STAC ids of the supported collections: COGs, public or signed.
        hosts: Hosts of its files, see `imagery.stac.http.HostAllowlist`.
        buckets: Base URLs of the S3 buckets in its items.
        token_url: Endpoint for SAS tokens of storage containers; None if files are public.
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
    """Check a value of ``GEOBENTO_STAC`` without network access.

    The server of a URL may be down, and come back.

    Raises:
        SettingsError: The value is neither one of `PRESETS`, nor a URL, nor an existing path.
    """
    if location in PRESETS or "://" in location or Path(location).exists():
        return
    reason = "there is no such file; " if "/" in location else ""
    raise SettingsError(
        f"GEOBENTO_STAC: got {location!r}; {reason}accepted: {', '.join(PRESETS)}, the URL of a "
        "STAC API or of a static catalog, or the path of a catalog.json or of stac-geoparquet"
        f"{did_you_mean([location], PRESETS)}"
    )
