"""Regions of the demo archive through small models of the real families."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("transformers")

from geobento.config.settings import Settings
from geobento.schemas.embedding import Embedding
from geobento.schemas.errors import GeoBentoError, ModelNotFound
from geobento.schemas.requests import GeoEmbeddingRequest
from models.base import Model
from models.clip.remoteclip import RemoteClip
from models.satmaepp.model import SatMaePp
from pipeline.local_engine import LocalEngine
from tests.models import small

S2_BANDS = SatMaePp.card.modalities["s2_10b"].sensor.bands

SQUARE = {"type": "PointBuffer", "lon": 34.066, "lat": -3.401, "buffer_m": 500}
STRIP = {
    "type": "BBox", "minlon": 34.06, "minlat": -3.404, "maxlon": 34.07, "maxlat": -3.401,
}  # fmt: skip
L2A = {"collection": "COPERNICUS/S2_SR_HARMONIZED", "bands": list(S2_BANDS)}
"""The demo archive has no top-of-atmosphere scenes."""
JUNE = {"mode": "range", "start": "2023-06-01", "end": "2023-07-01"}


def ask(engine: LocalEngine, model: str, **request: Any) -> list[Embedding | GeoBentoError]:
    requested = {"model": model, "temporal": JUNE, "spatials": [SQUARE, STRIP]} | request
    return engine.geo_embedding(GeoEmbeddingRequest.model_validate(requested))


@pytest.mark.parametrize(
    ("cls", "variant", "name", "cells", "options"),
    [
        (RemoteClip, "vit_b_32", "remoteclip_s2rgb", 7, {}),
        (SatMaePp, "bgr_vit_large", "satmaepp_rgb", 14, {}),
        (SatMaePp, "s2_10b", "satmaepp_s2_10b", 12, {"sensor": L2A}),
    ],
)
def test_vectors_and_grids(
    cls: type[Model],
    variant: str,
    name: str,
    cells: int,
    options: dict[str, Any],
    demo_archive: Path,
) -> None:
    """One vector of one length for regions of any shape, and a grid that covers them exactly."""
    stored = small.stored(cls, variant=variant)
    engine = LocalEngine(Settings(models=(stored.tag,), stac=None))
    vectors = ask(engine, name, **options)
    grids = ask(engine, name, output={"mode": "grid"}, **options)
    for vector, grid in zip(vectors, grids, strict=True):
        assert isinstance(vector, Embedding)
        assert isinstance(grid, Embedding)
        assert vector.data.shape == (stored.model().dim,)
        assert grid.data.shape[1:] == (cells, cells)
        assert vector.meta.variant == variant
        cell, region = grid.meta.grid, grid.meta.pixels
        assert cell is not None
        assert region is not None
        assert cell.transform[0] * cells == pytest.approx(region.transform[0] * region.width)
        assert cell.transform[4] * cells == pytest.approx(region.transform[4] * region.height)
        assert np.std(grid.data, axis=(1, 2)).max() > 1e-3


def test_the_class_token_of_a_region(demo_archive: Path) -> None:
    """`pooling: cls` reaches the network and says so; the mean is another vector."""
    stored = small.stored(SatMaePp, variant="s2_10b")
    engine = LocalEngine(Settings(models=(stored.tag,), stac=None))
    vectors = {}
    for pooling in ("cls", "mean"):
        output = {"mode": "pooled", "pooling": pooling}
        (vector, *_) = ask(engine, "satmaepp_s2_10b", output=output, sensor=L2A)
        assert isinstance(vector, Embedding)
        assert vector.meta.pooling == pooling
        assert vector.meta.cls_removed == (pooling == "mean")
        vectors[pooling] = vector.data
    assert vectors["cls"].shape == vectors["mean"].shape
    assert np.abs(vectors["cls"] - vectors["mean"]).max() > 1e-3


def test_another_variant_does_not_answer_instead(demo_archive: Path) -> None:
    """Asked for ten bands, the image network does not answer."""
    stored = small.stored(SatMaePp)
    engine = LocalEngine(Settings(models=(stored.tag,), stac=None))
    with pytest.raises(ModelNotFound, match="geobento models import satmaepp_s2_10b"):
        ask(engine, "satmaepp_s2_10b")


def test_cached_pixels_give_the_same_answer(demo_archive: Path, tmp_path: Path) -> None:
    """To the bit, with the same metadata but for `cached`."""
    stored = small.stored(RemoteClip, variant="vit_b_32")
    settings = Settings(models=(stored.tag,), stac=str(demo_archive), data_dir=tmp_path)
    for output in ({"mode": "pooled"}, {"mode": "grid"}):
        window = JUNE | {"end": "2023-08-01" if output["mode"] == "grid" else "2023-09-01"}
        fresh, cached = (
            ask(LocalEngine(settings), "remoteclip_s2rgb", output=output, temporal=window)
            for _ in range(2)
        )
        for one, other in zip(fresh, cached, strict=True):
            assert isinstance(one, Embedding)
            assert isinstance(other, Embedding)
            assert (one.meta.cached, other.meta.cached) == (False, True)
            assert one.data.tobytes() == other.data.tobytes()
            assert one.meta.without_timing() == other.meta.without_timing()
