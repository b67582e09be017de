"""From the value of ``GEOBENTO_STAC`` to a catalog."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from geobento.schemas.errors import SourceError
from imagery.stac.catalogs.api import ApiCatalog
from imagery.stac.catalogs.base import Catalog
from imagery.stac.catalogs.geoparquet import ParquetCatalog
from imagery.stac.catalogs.presets import PRESETS, Preset
from imagery.stac.catalogs.static import Site, StaticCatalog
from imagery.stac.files import FilesAnywhere, LocalFiles, RemoteFiles
from imagery.stac.http import Hosts, Web, netloc, parsed
from imagery.stac.signing import Signer

KEY_HEADER = "Ocp-Apim-Subscription-Key"


def open_catalog(
    where: str, *, hosts: Sequence[str] = (), key: str | None = None, timeout_s: float
) -> Catalog:
    """Open a catalog.

    Args:
        where: A word of `imagery.stac.catalogs.presets`, the URL of a STAC API or of a static
            catalog, or the path of a `catalog.json`, of a stac-geoparquet file, or of a folder of
            such files.
        hosts: Further hosts, besides the catalog's own, where its files may lie.
        key: Subscription key for tokens, where the catalog has them.
        timeout_s: Longest time for opening it.

    Raises:
        SourceError: It cannot be reached or read.
    """
    deadline = time.monotonic() + timeout_s
    if where in PRESETS:
        return open_preset(PRESETS[where], hosts=hosts, key=key, deadline=deadline)
    if "://" not in where:
        path = Path(where)
        if path.suffix == ".parquet" or path.is_dir():
            return _open_parquet(path, hosts)
        catalog = StaticCatalog(path)
        catalog.load()
        return catalog
    url = parsed(where)
    if url.path.endswith(".parquet"):
        raise SourceError("stac-geoparquet is read on disk alone; copy it there")
    own = Hosts([netloc(url)], plain=url.scheme == "http")
    web = Web(own)
    files = RemoteFiles(Hosts([netloc(url), *hosts], plain=url.scheme == "http"))
    if _is_api(web.json(where, deadline)):
        return ApiCatalog(where, web=web, files=files, deadline=deadline)
    catalog = StaticCatalog(Site(where, web, files, deadline))
    catalog.load()
    return catalog


def _open_parquet(path: Path, hosts: Sequence[str]) -> ParquetCatalog:
    root = path.resolve() if path.is_dir() else path.resolve().parent
    local = LocalFiles(root)
    remote = RemoteFiles(Hosts(hosts, plain=False))
    return ParquetCatalog(path, FilesAnywhere(local, remote) if hosts else local)


def known_identity(where: str) -> tuple[str, ...] | None:
    """What `Catalog.identity` is of an API; None: that shows only when the catalog is opened.

    That of a static catalog, wherever it lies, is never equal to it.
    """
    if where in PRESETS:
        return (PRESETS[where].url,)
    return (where,) if "://" in where else None


def open_preset(
    preset: Preset, *, hosts: Sequence[str] = (), key: str | None = None, deadline: float
) -> ApiCatalog:
    """Open a public catalog.

    Raises:
        SourceError: It cannot be reached.
    """
    url = parsed(preset.url)
    plain = url.scheme == "http"
    sign = None
    if preset.token_url is not None:
        own = Hosts([netloc(parsed(preset.token_url))], plain=plain)
        sign = Signer(preset.token_url, Web(own, {KEY_HEADER: key} if key else None))
    return ApiCatalog(
        preset.url,
        web=Web(Hosts([netloc(url)], plain=plain)),
        files=RemoteFiles(Hosts([*preset.hosts, *hosts], plain=plain), preset.buckets, sign),
        deadline=deadline,
        name=preset.name,
        collections=preset.collections,
    )


def _is_api(landing: dict[str, object]) -> bool:
    """Whether a landing page is that of an API, going by what it says that it conforms to."""
    stated = landing.get("conformsTo")
    return isinstance(stated, list) and any("item-search" in str(entry) for entry in stated)
