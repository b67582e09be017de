"""Files and plans for tests of user-supplied pixels."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("transformers")

from geobento.schemas.cards import ModelCard
from geobento.schemas.requests import PixelEmbeddingRequest
from models.mosaiks.model import Mosaiks
from models.registry import get_model_class
from pipeline.inputs.raster_uploads import RasterUpload
from pipeline.planning.limits import Limits
from pipeline.planning.user_pixels import UserPixelsPlan, plan_user_pixels
from tests import geotiffs

MOSAIKS = Mosaiks.card

S2 = MOSAIKS.modalities["s2"].sensor.bands

ANYSAT, DOFA, THOR = (get_model_class(name).card for name in ("anysat", "dofa", "thor"))

RANDOM = np.random.default_rng(0)

NUMBERS = RANDOM.integers(200, 4000, (12, 24, 30)).astype(np.uint16)

POWER = RANDOM.gamma(2, 0.02, (2, 24, 30)).astype(np.float32)

FILE = RasterUpload("GeoTIFF", NUMBERS, bands=S2, units="digital numbers")

JUNE = "2023-06-11"

SERIES = np.stack([NUMBERS, NUMBERS + 1])

UTM = {"crs": geotiffs.CRS, "transform": geotiffs.TRANSFORM}


def plan(file: RasterUpload = FILE, card: ModelCard = MOSAIKS, **fields: Any) -> UserPixelsPlan:
    """What becomes of a file."""
    request = PixelEmbeddingRequest.model_validate({"model": card.id, "pixels": b"", **fields})
    served = tuple(card.modalities)
    return plan_user_pixels(card, request, file, served_modalities=served, limits=Limits(100_000))


REGION = {"type": "PointBuffer", "lon": 34.072, "lat": -3.398, "buffer_m": 300}
"""A tenth of it is under clouds."""

WINDOW = {"mode": "range", "start": "2023-06-01", "end": "2023-07-01"}


def array(pixels: NDArray[Any]) -> bytes:
    """An `.npy` file."""
    stream = io.BytesIO()
    np.save(stream, pixels)
    return stream.getvalue()
