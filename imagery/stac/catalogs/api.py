"""Searching a STAC API."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import orjson
import pystac
import pystac_client
from pystac_client.conformance import ConformanceClasses
from pystac_client.item_search import ItemSearch
from pystac_client.stac_api_io import StacApiIO

from geobento.schemas.errors import GeoBentoError, SourceError
from imagery.cache.ttl_cache import TTLCache
from imagery.stac.catalogs.base import (
    Availability,
    Search,
    item_cloud_pct,
    item_matches,
    item_time,
    longitude_spans,
    select_items,
)
from imagery.stac.files import AssetFiles
from imagery.stac.http import HttpJsonClient

PAGE_SIZE = 50
"""Items of one answer."""
MAX_ITEMS = 2000
"""More scenes than this are not gone through for one place."""
CACHE_TTL_S, CACHE_MAX_ITEMS = 30.0, 1000
"""How long, and how much of what was found is at hand: who looks at a plan fetches it next."""


class ApiCatalog:
    """A STAC API. Safe for several threads.

    Args:
        url: Its landing page.
        http_client: How it is asked.
        files: How the files of its items are opened.
        deadline: Instant of `time.monotonic` at which opening it ends.
        name: What answers call it; its own id if None.
        collections: Those to read; None: all that it lists.

    Raises:
        SourceError: It cannot be reached, or is no STAC API.
    """

    def __init__(
        self,
        url: str,
        *,
        http_client: HttpJsonClient,
        files: AssetFiles,
        deadline: float,
        name: str | None = None,
        collections: frozenset[str] | None = None,
    ) -> None:
        self._http_client = http_client
        self._cache = TTLCache[pystac.Item](CACHE_TTL_S, CACHE_MAX_ITEMS)
        self.files = files
        self.fingerprint = (url,)
        try:
            client = pystac_client.Client.open(url, stac_io=_DeadlineStacIO(http_client, deadline))
            self._search_link = client.get_search_link()
            self._conformance_classes = {
                kind for kind in ConformanceClasses if client.conforms_to(kind)
            }
            self.name = client.id if name is None else name
        except GeoBentoError:
            raise
        except Exception as error:
            raise SourceError("what GEOBENTO_STAC points to is not a STAC API") from error
        if (
            self._search_link is None
            or ConformanceClasses.ITEM_SEARCH not in self._conformance_classes
        ):
            raise SourceError("what GEOBENTO_STAC points to offers no search for items")
        self.collections: frozenset[str] = collections or self._list_collections(url, deadline)

    def search(self, search: Search, deadline: float) -> list[pystac.Item]:
        """Items that match, see `imagery.stac.catalogs.base.Catalog`."""
        return select_items(self._find_items(search, deadline), search)

    def availability(self, search: Search, deadline: float) -> Availability:
        """What there is around a search, see `imagery.stac.catalogs.base.Catalog`."""
        in_window = self._find_items(search.without_cloud_limit, deadline)
        times = [self._nearest_time(search, deadline, after=after) for after in (False, True)]
        return Availability(
            times=tuple(time for time in times if time is not None),
            complete=False,
            cloud_percentages=tuple(
                item_cloud_pct(item, search)
                for item in in_window
                if item_matches(item, search.without_cloud_limit)
            ),
        )

    def _list_collections(self, url: str, deadline: float) -> frozenset[str]:
        pages = _DeadlineStacIO(self._http_client, deadline).get_pages(
            f"{url.rstrip('/')}/collections"
        )
        return frozenset(str(entry.get("id")) for page in pages for entry in page["collections"])

    def _nearest_time(self, search: Search, deadline: float, *, after: bool) -> datetime | None:
        """Time of the first scene of the place after the window, or of the last before it."""
        edge = search.end if after else search.start
        if edge is None or ConformanceClasses.SORT not in self._conformance_classes:
            return None
        asked = {
            **_search_params(search.at_any_time, self._conformance_classes),
            "datetime": (edge, None) if after else (None, edge),
            "sortby": [{"field": "properties.datetime", "direction": "asc" if after else "desc"}],
            "max_items": 1,
        }
        west, east = longitude_spans(search.bounds)[0]
        found = self._request_bbox(
            asked, (west, search.bounds[1], east, search.bounds[3]), deadline
        )
        return item_time(found[0]) if found else None

    def _find_items(self, search: Search, deadline: float) -> list[pystac.Item]:
        """What the API has for a search, or had a moment ago; it may be more than what matches."""
        return self._cache.get_or_load(repr(search), lambda: self._request_items(search, deadline))

    def _request_items(self, search: Search, deadline: float) -> list[pystac.Item]:
        _, south, _, north = search.bounds
        asked = {**_search_params(search, self._conformance_classes), "max_items": MAX_ITEMS + 1}
        found = {
            (item.collection_id, item.id): item
            for west, east in longitude_spans(search.bounds)
            for item in self._request_bbox(asked, (west, south, east, north), deadline)
        }
        if len(found) > MAX_ITEMS:
            raise SourceError(
                f"the source {self.name!r} has more than {MAX_ITEMS} scenes of this place in the "
                "window; take a shorter window"
            )
        return list(found.values())

    def _request_bbox(
        self, params: dict[str, Any], bbox: tuple[float, ...], deadline: float
    ) -> list[pystac.Item]:
        assert self._search_link is not None
        held = [
            name for name in params["collections"] if self.collections and name in self.collections
        ]
        if not held:
            return []
        search = ItemSearch(
            self._search_link.get_absolute_href() or "",
            method=self._search_link.extra_fields.get("method") or "GET",
            stac_io=_DeadlineStacIO(self._http_client, deadline),
            limit=PAGE_SIZE,
            bbox=bbox,
            **{**params, "collections": held},
        )
        try:
            items = list(search.items())
            for item in items:
                item.make_asset_hrefs_absolute()
                item.clear_links()
            return items
        except GeoBentoError:
            raise
        except Exception as error:
            raise SourceError(
                f"the source {self.name!r} answered a search with something else than items "
                f"({type(error).__name__})"
            ) from error


class _DeadlineStacIO(StacApiIO):
    """How the client library asks: with our deadline, retries and errors."""

    def __init__(self, http_client: HttpJsonClient, deadline: float) -> None:
        super().__init__()
        self._http_client = http_client
        self._deadline = deadline

    def request(
        self,
        href: str,
        method: str | None = None,
        headers: dict[str, str] | None = None,
        parameters: dict[str, Any] | None = None,
    ) -> str:
        method = (method or "GET").upper()
        given = {"body" if method == "POST" else "params": parameters}
        answer = self._http_client.request_json(
            href, self._deadline, method=method, headers=headers, **given
        )
        return orjson.dumps(answer).decode()


def _search_params(search: Search, conformance_classes: set[ConformanceClasses]) -> dict[str, Any]:
    """A search in the words of the client library. Pure.

    Windows of APIs are closed, and not all can limit clouds: what they find is matched again.
    """
    asked: dict[str, Any] = {"collections": list(search.collections)}
    if search.start is not None or search.end is not None:
        asked["datetime"] = (search.start, search.end)
    clouds = search.cloud_property if search.max_cloud_pct is not None else None
    if ConformanceClasses.FILTER in conformance_classes:
        parts = [_cql2_comparison("=", name, value) for name, value in search.properties.items()]
        if clouds is not None:
            unstated = {"op": "isNull", "args": [{"property": clouds}]}
            below = _cql2_comparison("<=", clouds, search.max_cloud_pct)
            parts.append({"op": "or", "args": [below, unstated]})
        if parts:
            asked["filter"] = parts[0] if len(parts) == 1 else {"op": "and", "args": parts}
            asked["filter_lang"] = "cql2-json"
    elif ConformanceClasses.QUERY in conformance_classes:
        query: dict[str, Any] = {name: {"eq": value} for name, value in search.properties.items()}
        if clouds is not None:
            query[clouds] = {"lte": search.max_cloud_pct}
        if query:
            asked["query"] = query
    return asked


def _cql2_comparison(op: str, name: str, value: Any) -> dict[str, Any]:
    return {"op": op, "args": [{"property": name}, value]}
