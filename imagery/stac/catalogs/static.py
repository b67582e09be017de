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
from imagery.stac.catalogs.base import Holdings, Search, chosen, cloud, item_time, matches
from imagery.stac.files import Files, LocalFiles, inside
from imagery.stac.http import Web, netloc, parsed

MOST_RECORDS = 20_000
"""Larger catalogs are not read over a network record by record."""
RECORDS_AT_A_TIME = 16


class Tree(Protocol):
    """Where the records of a catalog lie."""

    @property
    def top(self) -> str:
        """The record that leads to all others."""

    @property
    def label(self) -> str:
        """What errors call the catalog."""

    @property
    def files(self) -> Files:
        """How the files of its items are opened."""

    def join(self, base: str, href: str) -> str:
        """The record that a link of another means.

        Raises:
            SourceError: It does not belong to the catalog.
        """

    def records(self, places: list[str]) -> list[dict[str, Any]]:
        """Several records.

        Raises:
            SourceError: One is missing or damaged.
        """


class Folder:
    """Records on disk. Nothing outside the folder of the catalog is read, whatever it links to.

    Args:
        path: The catalog's `catalog.json`.
    """

    def __init__(self, path: Path) -> None:
        resolved = path.resolve()
        self.top = str(resolved)
        self.label = resolved.name
        self._root = resolved.parent
        self.files: Files = LocalFiles(self._root)

    def join(self, base: str, href: str) -> str:
        """The file that a link means."""
        return str(inside(href, Path(base).parent, self._root))

    def records(self, places: list[str]) -> list[dict[str, Any]]:
        """What is in some files."""
        return [_record(json.loads(Path(place).read_bytes()), place) for place in places]


class Site:
    """Records on a web server. Nothing but what lies below the catalog's folder is read.

    Args:
        url: Address of the catalog's `catalog.json`.
        web: How it is asked.
        files: How the files of its items are opened.
        deadline: Instant of `time.monotonic` at which reading records ends.
    """

    def __init__(self, url: str, web: Web, files: Files, deadline: float) -> None:
        self.top = str(parsed(url))
        self.label = f"at {netloc(parsed(url))}"
        self.files = files
        self._below = urljoin(self.top, ".")
        self._web = web
        self._deadline = deadline
        self._count = 0

    def join(self, base: str, href: str) -> str:
        """The address that a link means."""
        url = parsed(urljoin(base, href)).copy_with(fragment=None)
        if not str(url).startswith(self._below) or ".." in url.path.split("/"):
            raise SourceError("a link leads outside the catalog's folder")
        return str(url)

    def records(self, places: list[str]) -> list[dict[str, Any]]:
        """What is at some addresses."""
        self._count += len(places)
        if self._count > MOST_RECORDS:
            raise SourceError(f"it has more than {MOST_RECORDS} records; use an API or a copy")
        with ThreadPoolExecutor(RECORDS_AT_A_TIME, thread_name_prefix="records") as pool:
            return list(pool.map(lambda place: self._web.json(place, self._deadline), places))


class StaticCatalog:
    """A static catalog, read once, when first searched. Safe for several threads.

    Args:
        where: Its `catalog.json`, or where else its records lie.
    """

    def __init__(self, where: str | Path | Tree) -> None:
        self._tree: Tree = Folder(Path(where)) if isinstance(where, str | Path) else where
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
    def files(self) -> Files:
        """How the files of its items are opened."""
        return self._tree.files

    @property
    def items(self) -> list[pystac.Item]:
        """All items, oldest first, with absolute hrefs.

        Raises:
            SourceError: The catalog is missing or damaged.
        """
        with self._lock:
            return self._contents[1]

    @property
    def identity(self) -> tuple[str, ...]:
        """Its address, and a digest of its records; it says nothing of the files."""
        with self._lock:
            return self._tree.top, self._contents[2]

    def search(self, search: Search, deadline: float) -> list[pystac.Item]:
        """Items that match, see `imagery.stac.catalogs.base.Catalog`."""
        return chosen(self.items, search)

    def holdings(self, search: Search, deadline: float) -> Holdings:
        """What there is around a search, see `imagery.stac.catalogs.base.Catalog`."""
        here = [item for item in self.items if matches(item, search.anywhen)]
        inside_window = [item for item in here if matches(item, search.whatever_clouds)]
        return Holdings(
            times=tuple(item_time(item) for item in here),
            complete=True,
            clouds=tuple(cloud(item, search) for item in inside_window),
        )

    @cached_property
    def _contents(self) -> tuple[str, list[pystac.Item], str]:
        tree, digest = self._tree, hashlib.sha256()
        try:
            top = tree.records([tree.top])[0]
            items = sorted(_items(tree, top, digest), key=lambda item: (item_time(item), item.id))
            return str(top["id"]), items, digest.hexdigest()
        except GeoBentoError as error:
            raise type(error)(
                f"the STAC catalog {tree.label}: {error.message}", retry_after=error.retry_after
            ) from error
        except Exception as error:
            raise SourceError(
                f"the STAC catalog {tree.label} cannot be read ({type(error).__name__})"
            ) from error


def _items(tree: Tree, top: dict[str, Any], digest: hashlib._Hash) -> Iterator[pystac.Item]:
    """All items below a record. Links are taken off them: nothing can follow one later.

    Args:
        tree: Where records lie.
        top: The record.
        digest: Gets all records.
    """
    visited = {tree.top}
    level = [(tree.top, top)]
    while level:
        wanted: list[str] = []
        for place, record in level:
            digest.update(orjson.dumps(record, option=orjson.OPT_SORT_KEYS))
            if record.get("type") == "Feature" and place != tree.top:
                item = pystac.Item.from_dict(record, href=place)
                item.make_asset_hrefs_absolute()
                item.clear_links()
                yield item
            elif record.get("type") in ("Catalog", "Collection"):
                links = [link["href"] for link in record.get("links", []) if _is_down(link)]
                wanted += [tree.join(place, href) for href in links]
            else:
                raise SourceError(f"{_name(place)} is not a STAC catalog, collection or item")
        places = [place for place in dict.fromkeys(wanted) if place not in visited]
        visited.update(places)
        level = list(zip(places, tree.records(places), strict=True)) if places else []


def _is_down(link: dict[str, Any]) -> bool:
    return link.get("rel") in ("child", "item")


def _record(record: Any, place: str) -> dict[str, Any]:
    if not isinstance(record, dict):
        raise SourceError(f"{_name(place)} is not a JSON object")
    return record


def _name(place: str) -> str:
    return place.rsplit("/", 1)[-1]
