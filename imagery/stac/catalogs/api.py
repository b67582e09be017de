"""Catalogs behind a STAC API."""

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
    CACHE_MAX_ITEMS,
    CACHE_TTL_S,
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
"""Items per page."""
MAX_ITEMS = 2000
"""Maximum number of items of one search."""


class ApiCatalog:
    """A STAC API. Thread-safe.

    Args:
        url: URL of the landing page.
        http_client: HTTP client for the API.
        files: Access to the files of its items.
        deadline: Instant of `time.monotonic` at which opening ends.
        name: Name in responses; None for the catalog's own id.
        collections: Collections to use; None for all that the API lists.

    Raises:
        SourceError: The host is unreachable, or is not a STAC API.
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
                item for item in ConformanceClasses if client.conforms_to(item)
            }
            self.name = client.id if name is None else name
        except GeoBentoError:
            raise
        except Exception as error:
            raise SourceError("GEOBENTO_STAC does not point to a STAC API") from error
        if (
            self._search_link is None
            or ConformanceClasses.ITEM_SEARCH not in self._conformance_classes
        ):
            raise SourceError("the STAC API of GEOBENTO_STAC has no item search")
        self.collections: frozenset[str] = collections or self._list_collections(url, deadline)

    def search(self, search: Search, deadline: float) -> list[pystac.Item]:
        """Find items, see `imagery.stac.catalogs.base.Catalog`."""
        return select_items(self._find_items(search, deadline), search)

    def availability(self, search: Search, deadline: float) -> Availability:
        """Describe nearby scenes, see `imagery.stac.catalogs.base.Catalog`."""
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
        """Time of the region's first scene after the window, or of the last before it."""
        edge = search.end if after else search.start
        if edge is None or ConformanceClasses.SORT not in self._conformance_classes:
            return None
        params = {
            **_search_params(search.at_any_time, self._conformance_classes),
            "datetime": (edge, None) if after else (None, edge),
            "sortby": [{"field": "properties.datetime", "direction": "asc" if after else "desc"}],
            "max_items": 1,
        }
        west, east = longitude_spans(search.bounds)[0]
        bbox = (west, search.bounds[1], east, search.bounds[3])
        items = self._request_bbox(params, bbox, deadline)
        return item_time(items[0]) if items else None

    def _find_items(self, search: Search, deadline: float) -> list[pystac.Item]:
        """Cached or new search results of the API. Some may not match and are filtered later."""
        return self._cache.get_or_load(repr(search), lambda: self._request_items(search, deadline))

    def _request_items(self, search: Search, deadline: float) -> list[pystac.Item]:
        _, south, _, north = search.bounds
        params = {**_search_params(search, self._conformance_classes), "max_items": MAX_ITEMS + 1}
        items = {
            (item.collection_id, item.id): item
            for west, east in longitude_spans(search.bounds)
            for item in self._request_bbox(params, (west, south, east, north), deadline)
        }
        if len(items) > MAX_ITEMS:
            raise SourceError(
                f"the source {self.name!r} has more than {MAX_ITEMS} scenes of this region in the "
                "window; take a shorter window"
            )
        return list(items.values())

    def _request_bbox(
        self, params: dict[str, Any], bbox: tuple[float, ...], deadline: float
    ) -> list[pystac.Item]:
        assert self._search_link is not None
        available = [
            name for name in params["collections"] if self.collections and name in self.collections
        ]
        if not available:
            return []
        search = ItemSearch(
            self._search_link.get_absolute_href() or "",
            method=self._search_link.extra_fields.get("method") or "GET",
            stac_io=_DeadlineStacIO(self._http_client, deadline),
            limit=PAGE_SIZE,
            bbox=bbox,
            **{**params, "collections": available},
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
                f"the source {self.name!r} did not answer a search with items "
                f"({type(error).__name__})"
            ) from error


class _DeadlineStacIO(StacApiIO):
    """Requests of the library pystac-client, with our deadline, retries and errors."""

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
        payload = {"body" if method == "POST" else "params": parameters}
        response = self._http_client.request_json(
            href, self._deadline, method=method, headers=headers, **payload
        )
        return orjson.dumps(response).decode()


def _search_params(search: Search, conformance_classes: set[ConformanceClasses]) -> dict[str, Any]:
    """A search as parameters of pystac-client. Pure.

    STAC intervals are closed, and not every API can filter by clouds, so results are filtered
    again.
    """
    params: dict[str, Any] = {"collections": list(search.collections)}
    if search.start is not None or search.end is not None:
        params["datetime"] = (search.earliest, search.end)
    cloud_property = search.cloud_property if search.max_cloud_pct is not None else None
    if ConformanceClasses.FILTER in conformance_classes:
        parts = [_cql2_comparison("=", name, value) for name, value in search.properties.items()]
        if cloud_property is not None:
            unknown = {"op": "isNull", "args": [{"property": cloud_property}]}
            below = _cql2_comparison("<=", cloud_property, search.max_cloud_pct)
            parts.append({"op": "or", "args": [below, unknown]})
        if parts:
            params["filter"] = parts[0] if len(parts) == 1 else {"op": "and", "args": parts}
            params["filter_lang"] = "cql2-json"
    elif ConformanceClasses.QUERY in conformance_classes:
        query: dict[str, Any] = {name: {"eq": value} for name, value in search.properties.items()}
        if cloud_property is not None:
            query[cloud_property] = {"lte": search.max_cloud_pct}
        if query:
            params["query"] = query
    return params


def _cql2_comparison(op: str, name: str, value: Any) -> dict[str, Any]:
    return {"op": op, "args": [{"property": name}, value]}
