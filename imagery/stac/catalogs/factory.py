"""Opening the catalog that ``GEOBENTO_STAC`` names."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from geobento.schemas.errors import SourceError
from imagery.stac.catalogs.api import ApiCatalog
from imagery.stac.catalogs.base import Catalog
from imagery.stac.catalogs.geoparquet import ParquetCatalog
from imagery.stac.catalogs.presets import PRESETS, CatalogPreset
from imagery.stac.catalogs.static import HttpRecordStore, StaticCatalog
from imagery.stac.files import LocalAndRemoteFiles, LocalFiles, RemoteFiles
from imagery.stac.http import HostAllowlist, HttpJsonClient, netloc, parse_url
from imagery.stac.signing import SasTokenSigner

SUBSCRIPTION_KEY_HEADER = "Ocp-Apim-Subscription-Key"


def open_catalog(
    location: str,
    *,
    extra_hosts: Sequence[str] = (),
    subscription_key: str | None = None,
    timeout_s: float,
) -> Catalog:
    """Open a catalog.

    Args:
        location: Name of a preset in `imagery.stac.catalogs.presets`, URL of a STAC API or of a
            static catalog, or path of a `catalog.json`, of a stac-geoparquet file, or of a folder
            of such files.
        extra_hosts: Hosts of asset files, besides the catalog's own.
        subscription_key: Subscription key for SAS tokens, for catalogs that need them.
        timeout_s: Timeout, seconds.

    Raises:
        SourceError: The catalog is unreachable or unreadable.
    """
    deadline = time.monotonic() + timeout_s
    if location in PRESETS:
        return open_preset(
            PRESETS[location],
            extra_hosts=extra_hosts,
            subscription_key=subscription_key,
            deadline=deadline,
        )
    if "://" not in location:
        path = Path(location)
        if path.suffix == ".parquet" or path.is_dir():
            return _open_parquet(path, extra_hosts)
        catalog = StaticCatalog(path)
        catalog.load()
        return catalog
    url = parse_url(location)
    if url.path.endswith(".parquet"):
        raise SourceError("stac-geoparquet is read from local disk only; download the file first")
    own = HostAllowlist([netloc(url)], allow_http=url.scheme == "http")
    http_client = HttpJsonClient(own)
    files = RemoteFiles(HostAllowlist([netloc(url), *extra_hosts], allow_http=url.scheme == "http"))
    if _is_stac_api(http_client.request_json(location, deadline)):
        return ApiCatalog(location, http_client=http_client, files=files, deadline=deadline)
    catalog = StaticCatalog(HttpRecordStore(location, http_client, files, deadline))
    catalog.load()
    return catalog


def _open_parquet(path: Path, extra_hosts: Sequence[str]) -> ParquetCatalog:
    root = path.resolve() if path.is_dir() else path.resolve().parent
    local = LocalFiles(root)
    remote = RemoteFiles(HostAllowlist(extra_hosts, allow_http=False))
    return ParquetCatalog(path, LocalAndRemoteFiles(local, remote) if extra_hosts else local)


def known_fingerprint(location: str) -> tuple[str, ...] | None:
    """The `Catalog.fingerprint` of an API, known without opening it; None for local catalogs.

    Fingerprints of static catalogs never equal one of an API.
    """
    if location in PRESETS:
        return (PRESETS[location].url,)
    return (location,) if "://" in location else None


def open_preset(
    preset: CatalogPreset,
    *,
    extra_hosts: Sequence[str] = (),
    subscription_key: str | None = None,
    deadline: float,
) -> ApiCatalog:
    """Open a public catalog.

    Raises:
        SourceError: The catalog is unreachable.
    """
    url = parse_url(preset.url)
    allow_http = url.scheme == "http"
    sign = None
    if preset.token_url is not None:
        own = HostAllowlist([netloc(parse_url(preset.token_url))], allow_http=allow_http)
        sign = SasTokenSigner(
            preset.token_url,
            HttpJsonClient(
                own, {SUBSCRIPTION_KEY_HEADER: subscription_key} if subscription_key else None
            ),
        )
    return ApiCatalog(
        preset.url,
        http_client=HttpJsonClient(HostAllowlist([netloc(url)], allow_http=allow_http)),
        files=RemoteFiles(
            HostAllowlist([*preset.hosts, *extra_hosts], allow_http=allow_http),
            preset.buckets,
            sign,
        ),
        deadline=deadline,
        name=preset.name,
        collections=preset.collections,
    )


def _is_stac_api(landing_page: dict[str, object]) -> bool:
    """Whether a landing page belongs to an API, by its conformance classes."""
    classes = landing_page.get("conformsTo")
    return isinstance(classes, list) and any("item-search" in str(entry) for entry in classes)
