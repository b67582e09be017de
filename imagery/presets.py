"""Public catalogs that are known by a word: data alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Preset:
    """A STAC API and what there is to know about it.

    Attributes:
        name: The word.
        url: Its landing page.
        collections: STAC ids of those of its collections whose files are read: they are COGs,
            open to all or after signing.
        hosts: Where its files lie, see `imagery.web.Hosts`.
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
        Preset(
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
        Preset(
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
