"""Searching a static STAC catalog: a tree of JSON files on disk or on a web server."""

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
from imagery.stac.files import AssetFiles, LocalFiles, resolve_inside
from imagery.stac.http import HttpJsonClient, netloc, parse_url

MAX_RECORDS = 20_000
"""Larger catalogs are not read over a network record by record."""
MAX_CONCURRENT_RECORDS = 16


class RecordStore(Protocol):
    """Where the records of a catalog lie."""

    @property
    def root_href(self) -> str:
        """The record that leads to all others."""

    @property
    def label(self) -> str:
        """What errors call the catalog."""

    @property
    def files(self) -> AssetFiles:
        """How the files of its items are opened."""

    def resolve(self, base: str, href: str) -> str:
        """The record that a link of another means.

        Raises:
            SourceError: It does not belong to the catalog.
        """

    def read(self, hrefs: list[str]) -> list[dict[str, Any]]:
        """Several records.

        Raises:
            SourceError: One is missing or damaged.
        """


class LocalRecordStore:
    """Records on disk. Nothing outside the folder of the catalog is read, whatever it links to.

    Args:
        path: The catalog's `catalog.json`.
    """

    def __init__(self, path: Path) -> None:
        resolved = path.resolve()
        self.root_href = str(resolved)
        self.label = resolved.name
        self._root = resolved.parent
        self.files: AssetFiles = LocalFiles(self._root)

    def resolve(self, base: str, href: str) -> str:
        """The file that a link means."""
        return str(resolve_inside(href, Path(base).parent, self._root))

    def read(self, hrefs: list[str]) -> list[dict[str, Any]]:
        """What is in some files."""
        return [_check_record(json.loads(Path(place).read_bytes()), place) for place in hrefs]


class HttpRecordStore:
    """Records on a web server. Nothing but what lies below the catalog's folder is read.

    Args:
        url: Address of the catalog's `catalog.json`.
        http_client: How it is asked.
        files: How the files of its items are opened.
        deadline: Instant of `time.monotonic` at which reading records ends.
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
        """The address that a link means."""
        url = parse_url(urljoin(base, href)).copy_with(fragment=None)
        if not str(url).startswith(self._base_url) or ".." in url.path.split("/"):
            raise SourceError("a link leads outside the catalog's folder")
        return str(url)

    def read(self, hrefs: list[str]) -> list[dict[str, Any]]:
        """What is at some addresses."""
        self._records_read += len(hrefs)
        if self._records_read > MAX_RECORDS:
            raise SourceError(f"it has more than {MAX_RECORDS} records; use an API or a copy")
        with ThreadPoolExecutor(MAX_CONCURRENT_RECORDS, thread_name_prefix="records") as pool:
            return list(
                pool.map(lambda place: self._http_client.request_json(place, self._deadline), hrefs)
            )


class StaticCatalog:
    """A static catalog, read once, when first searched. Safe for several threads.

    Args:
        location: Its `catalog.json`, or where else its records lie.
    """

    def __init__(self, location: str | Path | RecordStore) -> None:
        self._store: RecordStore = (
            LocalRecordStore(Path(location)) if isinstance(location, str | Path) else location
        )
        self._lock = Lock()

    def load(self) -> None:
        """Read the catalog now instead of with the first search.

        Raises:
            SourceError: It is missing or damaged.
        """
        _ = self.items

    @property
    def name(self) -> str:
        """The catalog's own id."""
        with self._lock:
            return self._contents[0]

    @property
    def collections(self) -> frozenset[str] | None:
        """Not known: a catalog without a single item of a collection may still be one for it."""
        return None

    @property
    def files(self) -> AssetFiles:
        """How the files of its items are opened."""
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
        """Its address, and a digest of its records; it says nothing of the files."""
        with self._lock:
            return self._store.root_href, self._contents[2]

    def search(self, search: Search, deadline: float) -> list[pystac.Item]:
        """Items that match, see `imagery.stac.catalogs.base.Catalog`."""
        return select_items(self.items, search)

    def availability(self, search: Search, deadline: float) -> Availability:
        """What there is around a search, see `imagery.stac.catalogs.base.Catalog`."""
        here = [item for item in self.items if item_matches(item, search.at_any_time)]
        inside_window = [item for item in here if item_matches(item, search.without_cloud_limit)]
        return Availability(
            times=tuple(item_time(item) for item in here),
            complete=True,
            cloud_percentages=tuple(item_cloud_pct(item, search) for item in inside_window),
        )

    @cached_property
    def _contents(self) -> tuple[str, list[pystac.Item], str]:
        tree, digest = self._store, hashlib.sha256()
        try:
            top = tree.read([tree.root_href])[0]
            items = sorted(
                _iter_items(tree, top, digest), key=lambda item: (item_time(item), item.id)
            )
            return str(top["id"]), items, digest.hexdigest()
        except GeoBentoError as error:
            raise type(error)(
                f"the STAC catalog {tree.label}: {error.message}", retry_after=error.retry_after
            ) from error
        except Exception as error:
            raise SourceError(
                f"the STAC catalog {tree.label} cannot be read ({type(error).__name__})"
            ) from error


def _iter_items(
    store: RecordStore, root: dict[str, Any], digest: hashlib._Hash
) -> Iterator[pystac.Item]:
    """All items below a record. Links are taken off them: nothing can follow one later.

    Args:
        store: Where records lie.
        root: The record.
        digest: Gets all records.
    """
    visited = {store.root_href}
    level = [(store.root_href, root)]
    while level:
        wanted: list[str] = []
        for place, record in level:
            digest.update(orjson.dumps(record, option=orjson.OPT_SORT_KEYS))
            if record.get("type") == "Feature" and place != store.root_href:
                item = pystac.Item.from_dict(record, href=place)
                item.make_asset_hrefs_absolute()
                item.clear_links()
                yield item
            elif record.get("type") in ("Catalog", "Collection"):
                links = [link["href"] for link in record.get("links", []) if _is_child_link(link)]
                wanted += [store.resolve(place, href) for href in links]
            else:
                raise SourceError(f"{_basename(place)} is not a STAC catalog, collection or item")
        places = [place for place in dict.fromkeys(wanted) if place not in visited]
        visited.update(places)
        level = list(zip(places, store.read(places), strict=True)) if places else []


def _is_child_link(link: dict[str, Any]) -> bool:
    return link.get("rel") in ("child", "item")


def _check_record(record: Any, href: str) -> dict[str, Any]:
    if not isinstance(record, dict):
        raise SourceError(f"{_basename(href)} is not a JSON object")
    return record


def _basename(href: str) -> str:
    return href.rsplit("/", 1)[-1]
