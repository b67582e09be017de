"""Examples of responses for the OpenAPI document, with few numbers."""

from __future__ import annotations

import base64
from typing import Any

from geobento.schemas.embedding import ClassificationMeta, EmbeddingMeta, SceneMeta, TimeRange
from geobento.schemas.errors import InternalError
from geobento.schemas.grid import GridMeta
from geobento.schemas.plan import (
    BandStatistics,
    EmbeddingPlan,
    Histogram,
    Inspection,
    ModelCompatibility,
    RegionPlan,
)
from geobento.schemas.requests import EXAMPLE_IMAGE
from geobento.schemas.responses import ErrorBody
from geobento.schemas.specs import SensorSpec

_SENSOR = SensorSpec(collection="COPERNICUS/S2_SR_HARMONIZED", bands=("B4", "B3", "B2"))
_GRID = GridMeta(
    crs="EPSG:32736", transform=(10.0, 0.0, 617420.0, 0.0, -10.0, 9625020.0), height=200, width=200
)
_TIME_RANGE = TimeRange(start="2023-06-01T00:00:00Z", end="2023-07-01T00:00:00Z")
_SCENE = SceneMeta(
    id="S2B_36MXA_20230611_0_L2A",
    time="2023-06-11T08:13:00Z",
    cloud_pct=2.0,
    processing="05.09",
    offset_applied=True,
)


def embedding_response(model: str, modality: str) -> dict[str, Any]:
    """One embedding and one error."""
    meta = EmbeddingMeta(
        model=model,
        type="on_the_fly",
        tag=f"{model}:0123456789abcdef",
        variant="...",
        weights="9f86d081884c7d65",
        dim=1024,
        modality=modality,
        pooling="native",
        cls_removed=False,
        normalized=False,
        precision="float32",
        preprocessing="26b3c04a188128f4",
    )
    item = {"data": [0.0812, 0.0007], "shape": [1024], "dtype": "float32"}
    entries = [{**item, "meta": meta.model_dump(mode="json")}, InternalError("...").body()]
    return {"model": model, "dim": 1024, "embeddings": entries}


def classification_response() -> dict[str, Any]:
    """The probabilities of one image."""
    meta = ClassificationMeta(
        model="clip_vit_large_patch14",
        tag="clip_vit_large_patch14:0123456789abcdef",
        variant="vit_l_14",
        weights="9f86d081884c7d65",
        logit_scale=100.0,
        template="a satellite image of a {}",
        precision="float32",
        preprocessing="26b3c04a188128f4",
    )
    result = {"probabilities": [0.94, 0.06], "meta": meta.model_dump(mode="json")}
    return {"model": meta.model, "classes": ["forest", "harbour"], "results": [result]}


def plan_response() -> dict[str, Any]:
    """One region that can be embedded and one that cannot."""
    region = RegionPlan(
        grid=_GRID,
        tiles=None,
        inputs=1,
        shape=[1024],
        backend="stac",
        source="earth-search",
        notice=None,
        scenes=[_SCENE],
        auxiliary={},
        requests=4,
        bytes=640_000,
    )
    plan = EmbeddingPlan(
        model="mosaiks",
        modality="s2",
        sensor=_SENSOR,
        temporal=_TIME_RANGE,
        frames=1,
        auxiliary=[],
        models=[ModelCompatibility(model="mosaiks", compatible=True, modality="s2", note=None)],
        regions=[region, ErrorBody.model_validate(InternalError("...").body())],
    )
    return plan.model_dump(mode="json")


def inspection_response() -> dict[str, Any]:
    """One band of a region."""
    band = BandStatistics(
        band="B4",
        count=39_533,
        min=212.0,
        max=3120.0,
        mean=1184.2,
        std=301.7,
        p2=640.0,
        p50=1172.0,
        p98=1893.0,
        histogram=Histogram(counts=[31_080, 8_453], edges=[212.0, 1666.0, 3120.0]),
    )
    inspection = Inspection(
        modality="s2",
        units="digital numbers",
        bands=[band],
        quicklook=base64.b64decode(EXAMPLE_IMAGE.partition(",")[2]),
        backend="stac",
        source="earth-search",
        sensor=_SENSOR,
        temporal=_TIME_RANGE,
        scenes=[_SCENE],
        offset_applied=True,
        valid_fraction=0.988325,
        crs=_GRID.crs,
        transform=_GRID.transform,
        pixels=_GRID,
    )
    return inspection.model_dump(mode="json")
