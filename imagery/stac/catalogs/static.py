"""Static STAC catalogs: trees of JSON files on disk or on a web server."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any, Protocol
from urllib.parse import urljoin

import orjson
import pystac

from geobento.schemas.errors import GeoBentoError, SourceError
from imagery.stac.catalogs.base import (
    Availability,
    Search,
    item_cloud_pct,
    item_matches,
    item_time,
    select_items,
)
from imagery.stac.files import AssetFiles, LocalFiles, basename, resolve_inside
from imagery.stac.http import HttpJsonClient, netloc, parse_url

MAX_RECORDS = 20_000
"""Maximum number of records read over a network."""
MAX_CONCURRENT_RECORDS = 16


class RecordStore(Protocol):
    """Access to the records (JSON files) of a catalog."""

    @property
    def root_href(self) -> str:
        """The root record."""

    @property
    def label(self) -> str:
        """Name of the catalog in errors."""

    @property
    def files(self) -> AssetFiles:
        """Access to the files of its items."""

    def resolve(self, base: str, href: str) -> str:
        """Resolve a link of a record.

        Args:
            base: The record that contains the link.
            href: The link.

        Raises:
            SourceError: The link leads outside the catalog.
        """

    def read(self, hrefs: list[str]) -> list[dict[str, Any]]:
        """Read records.

        Raises:
            SourceError: A record is missing or damaged.
        """


class LocalRecordStore:
    """Records on disk. Files outside the folder of the catalog are never read.

    Args:
        path: Path of the `catalog.json`.
    """

    def __init__(self, path: Path) -> None:
        resolved = path.resolve()
        self.root_href = str(resolved)
        self.label = resolved.name
        self._root = resolved.parent
        self.files: AssetFiles = LocalFiles(self._root)

    def resolve(self, base: str, href: str) -> str:
        """Resolve a link to a file."""
        return str(resolve_inside(href, Path(base).parent, self._root))

    def read(self, hrefs: list[str]) -> list[dict[str, Any]]:
        """Read records from files."""
        return [_check_record(json.loads(Path(href).read_bytes()), href) for href in hrefs]


class HttpRecordStore:
    """Records on a web server. URLs outside the folder of the catalog are never read.

    Args:
        url: URL of the `catalog.json`.
        http_client: HTTP client for the records.
        files: Access to the files of its items.
        deadline: Instant of `time.monotonic` at which reading ends.
    """

    def __init__(
        self, url: str, http_client: HttpJsonClient, files: AssetFiles, deadline: float
    ) -> None:
        self.root_href = str(parse_url(url))
        self.label = f"at {netloc(parse_url(url))}"
        self.files = files
        self._base_url = urljoin(self.root_href, ".")
        self._http_client = http_client
        self._deadline = deadline
        self._records_read = 0

    def resolve(self, base: str, href: str) -> str:
        """Resolve a link to a URL."""
        url = parse_url(urljoin(base, href)).copy_with(fragment=None)
        if not str(url).startswith(self._base_url) or ".." in url.path.split("/"):
            raise SourceError("a link leads outside the catalog's folder")
        return str(url)

    def read(self, hrefs: list[str]) -> list[dict[str, Any]]:
        """Read records from URLs, concurrently."""
        self._records_read += len(hrefs)
        if self._records_read > MAX_RECORDS:
            raise SourceError(f"it has more than {MAX_RECORDS} records; use an API or a copy")
        with ThreadPoolExecutor(MAX_CONCURRENT_RECORDS, thread_name_prefix="records") as pool:
            return list(
                pool.map(lambda href: self._http_client.request_json(href, self._deadline), hrefs)
            )


class StaticCatalog:
    """A static catalog, read as a whole at the first search. Thread-safe.

    Args:
        location: Path of its `catalog.json`, or a store of its records.
    """

    def __init__(self, location: str | Path | RecordStore) -> None:
        self._store: RecordStore = (
            LocalRecordStore(Path(location)) if isinstance(location, str | Path) else location
        )
        self._lock = Lock()

    def load(self) -> None:
        """Read the catalog now instead of at the first search.

        Raises:
            SourceError: The catalog is missing or damaged.
        """
        _ = self.items

    @property
    def name(self) -> str:
        """The catalog's own id."""
        with self._lock:
            return self._contents[0]

    @property
    def collections(self) -> frozenset[str] | None:
        """Unknown: a catalog may serve a collection of which it has no item yet."""
        return None

    @property
    def files(self) -> AssetFiles:
        """Access to the files of its items."""
        return self._store.files

    @property
    def items(self) -> list[pystac.Item]:
        """All items, oldest first, with absolute hrefs.

        Raises:
            SourceError: The catalog is missing or damaged.
        """
        with self._lock:
            return self._contents[1]

    @property
    def fingerprint(self) -> tuple[str, ...]:
        """Its location and a digest of its records, without the asset files."""
        with self._lock:
            return self._store.root_href, self._contents[2]

    def search(self, search: Search, deadline: float) -> list[pystac.Item]:
        """Find items, see `imagery.stac.catalogs.base.Catalog`."""
        return select_items(self.items, search)

    def availability(self, search: Search, deadline: float) -> Availability:
        """Describe nearby scenes, see `imagery.stac.catalogs.base.Catalog`."""
        nearby = [item for item in self.items if item_matches(item, search.at_any_time)]
        inside_window = [item for item in nearby if item_matches(item, search.without_cloud_limit)]
        return Availability(
            times=tuple(item_time(item) for item in nearby),
            complete=True,
            cloud_percentages=tuple(item_cloud_pct(item, search) for item in inside_window),
        )

    @cached_property
    def _contents(self) -> tuple[str, list[pystac.Item], str]:
        store, digest = self._store, hashlib.sha256()
        try:
            root = store.read([store.root_href])[0]
            items = sorted(
                _iter_items(store, root, digest), key=lambda item: (item_time(item), item.id)
            )
            return str(root["id"]), items, digest.hexdigest()
        except GeoBentoError as error:
            raise type(error)(
                f"the STAC catalog {store.label}: {error.message}", retry_after=error.retry_after
            ) from error
        except Exception as error:
            raise SourceError(
                f"the STAC catalog {store.label} cannot be read ({type(error).__name__})"
            ) from error


def _iter_items(
    store: RecordStore, root: dict[str, Any], digest: hashlib._Hash
) -> Iterator[pystac.Item]:
    """Iterate over all items below a record, breadth first. Items lose their links, so that nothing
    follows one later.

    Args:
        store: Record store.
        root: Root record.
        digest: Updated with every record.
    """
    visited = {store.root_href}
    level = [(store.root_href, root)]
    while level:
        children: list[str] = []
        for href, record in level:
            digest.update(orjson.dumps(record, option=orjson.OPT_SORT_KEYS))
            if record.get("type") == "Feature" and href != store.root_href:
                item = pystac.Item.from_dict(record, href=href)
                item.make_asset_hrefs_absolute()
                item.clear_links()
                yield item
            elif record.get("type") in ("Catalog", "Collection"):
                links = [link["href"] for link in record.get("links", []) if _is_child_link(link)]
                children += [store.resolve(href, link) for link in links]
            else:
                raise SourceError(f"{basename(href)} is not a STAC catalog, collection or item")
        new = [href for href in dict.fromkeys(children) if href not in visited]
        visited.update(new)
        level = list(zip(new, store.read(new), strict=True)) if new else []


def _is_child_link(link: dict[str, Any]) -> bool:
    return link.get("rel") in ("child", "item")


def _check_record(record: Any, href: str) -> dict[str, Any]:
    if not isinstance(record, dict):
        raise SourceError(f"{basename(href)} is not a JSON object")
    return record
