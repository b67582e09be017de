"""Cache keys of patches."""

from __future__ import annotations

import hashlib
from dataclasses import fields, is_dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from geobento.schemas.errors import SpecError
from geobento.schemas.sample import Sample
from imagery.cache import key as cache_key
from imagery.collections import registry
from imagery.earth_engine.source import EarthEngineSource
from imagery.query import ImageQuery
from imagery.stac.catalogs.static import StaticCatalog
from imagery.stac.source import StacSource
from tests.imagery.catalogs import GRID
from tests.imagery.ee_server import Standin
from tests.imagery.patches import JUNE, QUERY
from tests.imagery.world import S2, WorldScene, shifted, write_catalog

OTHERS: tuple[Any, ...] = (
    *(False, True, 7, 7.5, "x", "mosaic", "cloud_score_plus", "ASCENDING", ("B8",)),
    *((10.0, 0.0, 617_410.0, 0.0, -10.0, 9_625_100.0), datetime(2023, 6, 2, tzinfo=UTC)),
)
"""Values of which every field of a query can take some."""


def key(query: ImageQuery = QUERY, backend: str = "stac", *identity: str) -> str:
    return cache_key.patch_key(query, backend, identity)


def changed(record: Any) -> list[tuple[str, Any]]:
    """Copies of a record that differ in one field, with the name of the field."""
    copies = []
    for field in fields(record):
        value = getattr(record, field.name)
        if is_dataclass(value):
            copies += [
                (f"{field.name}.{name}", replace(record, **{field.name: other}))
                for name, other in changed(value)
            ]
            continue
        result = []
        for other in OTHERS:
            if other == value or (value is not None and type(other) is not type(value)):
                continue
            try:
                result.append((field.name, replace(record, **{field.name: other})))
            except (SpecError, ValueError):
                continue
        assert result, f"no other value for {field.name}"
        copies += result
    return copies


def test_every_field_of_a_query_counts() -> None:
    """No two queries that differ anywhere are answered with the same patch."""
    copies = changed(QUERY)
    assert {"sensor.composite", "sensor.orbit", "grid.transform", "end", "frames"} <= {
        name for name, _ in copies
    }
    keys = [key(), *(key(query) for _, query in copies)]
    assert len(set(keys)) == len(keys)


def test_every_number_of_a_transform_counts() -> None:
    """Also a shift by less than a millimetre."""
    keys = {key()}
    for position in (0, 2, 4, 5):
        transform = list(GRID.transform)
        transform[position] += 1e-4
        moved = replace(GRID, transform=tuple(transform))  # type: ignore[arg-type]
        keys.add(key(replace(QUERY, grid=moved)))
    assert len(keys) == 5


def test_equal_queries_are_found_however_written() -> None:
    """Integers as int or float, instants in any zone."""
    east = timezone(timedelta(hours=3))
    same = replace(
        QUERY,
        sensor=replace(QUERY.sensor, scale_m=10.0, cloudy_pct=30.0),
        start=QUERY.start.astimezone(east),
    )
    assert key(same) == key()


def test_sources_are_told_apart() -> None:
    """By backend and by what the source says of itself, part by part."""
    keys = [key(), key(QUERY, "gee"), key(QUERY, "stac", "a"), key(QUERY, "stac", "b")]
    keys += [key(QUERY, "stac", "a", "b"), key(QUERY, "stac", "ab")]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("name", ["FORMAT_VERSION", "PROCESSING_VERSION"])
def test_versions_count(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Patches of an older service are not answered by a newer one that makes others."""
    before = key()
    monkeypatch.setattr(cache_key, name, 1000)
    assert key() != before


def test_the_collection_table_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A correction in the table of collections needs no new version."""
    before = key()
    corrected = replace(registry.get(S2), nodata=7.0)
    monkeypatch.setitem(registry.COLLECTIONS, S2, corrected)
    assert key() != before


def test_fields_of_unknown_types_are_an_error() -> None:
    """A field of a new kind is not left out by accident."""
    with pytest.raises(TypeError):
        key(replace(QUERY, modality={1, 2}))  # type: ignore[arg-type]


RECORDED = {1: "54b28c731629f38d"}
"""By version of the processing: digest of the pixels that the same scenes become."""


def test_other_pixels_need_another_version(
    tmp_path: Path, standin: Standin, source: EarthEngineSource
) -> None:
    """If this fails, the same scenes have become other pixels, and services in use would go on to
    answer with those that they have kept: raise `imagery.cache.key.PROCESSING` and record the
    digest under the new version.
    """
    scenes = [
        WorldScene("one", "2023-06-03T08:00:00Z", 1, cloudy=True, holes=True),
        WorldScene("two", "2023-06-10T08:00:00Z", 2, cloudy=True),
        WorldScene("three", "2023-06-20T08:00:00Z", 3, holes=True, border=True),
        WorldScene("tile", "2023-06-20T08:00:10Z", 4, shifted(GRID, 12, 0, 24, 24), tile="36MZB"),
    ]
    standin.scenes = scenes
    catalog = write_catalog(scenes, ("B4", "B8"), tmp_path)
    sources = (source, StacSource(StaticCatalog(catalog)))
    sensor = replace(QUERY.sensor, bands=("B4", "B8"), fill_value=-1.0)
    digest = hashlib.sha256()
    for each in sources:
        for composite in ("median", "mosaic"):
            for frames in (1, 3):
                query = ImageQuery(
                    replace(sensor, composite=composite), GRID, *JUNE, "s2", frames=frames
                )
                sample: Sample = each.fetch(query)
                assert sample.valid is not None
                digest.update(sample.pixels.tobytes() + sample.valid.tobytes())
    assert {cache_key.PROCESSING_VERSION: digest.hexdigest()[:16]} == RECORDED
