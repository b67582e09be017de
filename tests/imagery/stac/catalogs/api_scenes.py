"""Queries, scenes and sources for tests of STAC APIs."""

from __future__ import annotations

from pathlib import Path

from geobento.schemas.sample import Sample
from imagery.stac.catalogs.factory import open_catalog
from imagery.stac.source import StacSource
from tests.imagery.queries import SENSOR
from tests.imagery.stac_server import StacServer
from tests.imagery.world import WorldScene, write_catalog


def served(stac: StacServer, folder: Path, *scenes: WorldScene) -> StacSource:
    """A source over the API that has these scenes."""
    write_catalog(list(scenes), SENSOR.bands, folder)
    return opened(stac, folder)


def opened(stac: StacServer, folder: Path, timeout_s: float = 20) -> StacSource:
    """A source over the API of a folder."""
    catalog = open_catalog(stac.api(folder), timeout_s=timeout_s)
    return StacSource(catalog, timeout_s=timeout_s)


def names(sample: Sample) -> list[str]:
    """The scenes that an answer names."""
    assert sample.provenance is not None
    return [used.id for used in sample.provenance.scenes]
