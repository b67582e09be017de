"""User-supplied pixels that are rejected."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("transformers")

from geobento.schemas.cards import ModelCard
from geobento.schemas.errors import GeoBentoError, ModelError, SpecError
from models.galileo.model import Galileo
from models.registry import get_model_class
from pipeline.inputs.raster_uploads import RasterUpload
from tests import geotiffs
from tests.pipeline.planning.user_pixels_files import (
    FILE,
    JUNE,
    MOSAIKS,
    NUMBERS,
    POWER,
    RANDOM,
    S2,
    SERIES,
    THOR,
    UTM,
    plan,
)

BAD: dict[str, tuple[type[GeoBentoError], str, str, RasterUpload, ModelCard, dict[str, Any]]] = {
    "no names": (SpecError, "bands", "name the 12 bands", replace(FILE, bands=None), MOSAIKS, {}),
    "few names": (SpecError, "bands", "12 bands but 2 names", FILE, MOSAIKS, {"bands": ["a", "b"]}),
    "a name twice": (
        SpecError, "bands", "'B2' is named more than once", FILE, MOSAIKS,
        {"bands": ["B2"] * 12},
    ),
    "missing bands": (
        ModelError, "bands", "missing: B8A, B12", replace(FILE, bands=(*"ab", *S2[2:])), MOSAIKS,
        {"bands": [{"B8A": "B08A", "B12": "nir"}.get(name, name) for name in S2]},
    ),
    "none of any bands": (
        ModelError, "bands", "missing: B2, B3", FILE, THOR, UTM | {"bands": list("abcdefghijkl")},
    ),
    "no units": (
        SpecError, "units", "accepted: 'digital numbers', 'reflectance'",
        replace(FILE, units=None), MOSAIKS, {},
    ),
    "other units": (
        SpecError, "units", "'DN / 255' are not read; accepted: 'digital numbers'", FILE, MOSAIKS,
        {"units": "DN / 255"},
    ),
    "reflectance of radar": (
        SpecError, "units", "accepted: 'linear power'",
        RasterUpload("a", POWER, bands=("VV", "VH")), THOR,
        UTM | {"modality": "s1", "units": "reflectance"},
    ),
    "another scale": (
        SpecError, "pixels", "apply them", replace(FILE, scaling=((2e-4, 0.0),) * 12), MOSAIKS, {},
    ),
    "another offset": (
        SpecError, "pixels", "apply them", replace(FILE, scaling=((1e-4, -0.1),) * 12), MOSAIKS, {},
    ),
    "reflectance as numbers": (
        SpecError, "units", "scaled already", replace(FILE, pixels=NUMBERS / 10_000), MOSAIKS, {},
    ),
    "numbers as reflectance": (
        SpecError, "units", "lie outside of -1000 to 20000", FILE, MOSAIKS,
        {"units": "reflectance"},
    ),
    "normalised reflectance": (
        SpecError, "units", "normalised already",
        replace(FILE, pixels=RANDOM.normal(size=(12, 24, 30))), MOSAIKS, {},
    ),
    "normalised and called reflectance": (
        SpecError, "units", "normalised already",
        replace(FILE, pixels=RANDOM.normal(size=(12, 24, 30))), MOSAIKS, {"units": "reflectance"},
    ),
    "decibels as power": (
        SpecError, "units", "lie outside of 0 to 100",
        RasterUpload("a", 10 * np.log10(POWER), bands=("VV", "VH"), units="linear power"), THOR,
        UTM | {"modality": "s1"},
    ),
    "infinite": (
        SpecError, "pixels", "infinite",
        replace(FILE, pixels=np.where(NUMBERS.max() == NUMBERS, np.inf, NUMBERS)), MOSAIKS, {},
    ),
    "no data": (
        SpecError, "pixels", "no pixel has data in all bands",
        replace(FILE, pixels=np.full((12, 24, 30), np.nan)), MOSAIKS, {},
    ),
    "no power": (
        SpecError, "pixels", "no pixel has data in all bands",
        RasterUpload("a", POWER * 0, bands=("VV", "VH"), units="linear power"), THOR,
        UTM | {"modality": "s1"},
    ),
    "nothing but no data": (
        SpecError, "pixels", "no pixel has data", replace(FILE, pixels=NUMBERS * 0 + 7), MOSAIKS,
        {"nodata": 7},
    ),
    "too few pixels": (
        ModelError, "pixels", "2 x 30 pixels, mosaiks needs at least 3 x 3",
        replace(FILE, pixels=NUMBERS[:, :2]), MOSAIKS, {},
    ),
    "a crs alone": (SpecError, "transform", "give both", FILE, MOSAIKS, {"crs": "EPSG:4326"}),
    "a transform alone": (
        SpecError, "crs", "give both", FILE, MOSAIKS, {"transform": geotiffs.TRANSFORM},
    ),
    "an unknown crs": (
        SpecError, "crs", "'here' is not known", FILE, MOSAIKS, UTM | {"crs": "here"},
    ),
    "a crs of another world": (
        SpecError, "crs", "no transformation", FILE, MOSAIKS, UTM | {"crs": "IAU_2015:49900"},
    ),
    "a crs of three coordinates": (
        SpecError, "crs", "two coordinates", FILE, MOSAIKS, UTM | {"crs": "EPSG:4978"},
    ),
    "a file of the machine": (
        SpecError, "crs", "is not known", FILE, MOSAIKS,
        UTM | {"crs": "+proj=longlat +nadgrids=/etc/passwd"},
    ),
    "a rotated transform": (
        SpecError, "transform", "bring the pixels to such a grid first", FILE, MOSAIKS,
        UTM | {"transform": (10, 1, 0, 1, -10, 0)},
    ),
    "south up": (
        SpecError, "transform", "bring the pixels to such a grid first", FILE, MOSAIKS,
        UTM | {"transform": (10, 0, 0, 0, 10, 0)},
    ),
    "a missing pixel size": (
        ModelError, "transform", "reads the size of a pixel", FILE, Galileo.card, {"times": [JUNE]},
    ),
    "a missing pixel size for thor": (
        ModelError, "transform", "reads the size of a pixel", FILE, THOR, {},
    ),
    "a size in degrees": (
        ModelError, "crs", "a crs in metres", FILE, THOR,
        {"crs": "EPSG:4326", "transform": (1e-4, 0, 34, 0, -1e-4, -3)},
    ),
    "a size beyond the edge of the world": (
        SpecError, "transform", "outside", FILE, THOR,
        {"crs": "EPSG:32736", "transform": (10, 0, 1e12, 0, -10, 1e12)},
    ),
    "a size in metres of the web": (
        ModelError, "crs", "a crs in metres", FILE, THOR,
        {"crs": "EPSG:3857", "transform": (10, 0, 1e6, 0, -10, 6e6)},
    ),
    "missing times": (
        ModelError, "times", "reads the time of the pixels", FILE, Galileo.card, UTM,
    ),
    "fewer times than frames": (
        SpecError, "times", "2 frames but 1 times", replace(FILE, pixels=SERIES), Galileo.card,
        UTM | {"times": [JUNE]},
    ),
    "more frames than are read": (
        ModelError, "pixels", "up to 24 images of a region over time, got 26",
        replace(FILE, pixels=np.concatenate([SERIES] * 13)), Galileo.card,
        UTM | {"times": [JUNE] * 26},
    ),
    "another number of frames": (
        ModelError, "model_config.n_frames", "there are 2 frames", replace(FILE, pixels=SERIES),
        Galileo.card, UTM | {"times": [JUNE] * 2, "model_config": {"n_frames": 3}},
    ),
    "a single frame of two": (
        ModelError, "model_config.temporal_mode", "there are 2 frames",
        replace(FILE, pixels=SERIES), Galileo.card,
        UTM | {"times": [JUNE] * 2, "model_config": {"temporal_mode": "single"}},
    ),
    "several frames of one": (
        ModelError, "model_config.temporal_mode", "there are 1 frames", FILE, Galileo.card,
        UTM | {"times": [JUNE], "model_config": {"temporal_mode": "multi"}},
    ),
    "frames where one image is read": (
        ModelError, "pixels", "mosaiks reads up to 1 images", replace(FILE, pixels=SERIES),
        MOSAIKS, {},
    ),
    "another modality": (
        ModelError, "modality", "accepted: s2", FILE, MOSAIKS, {"modality": "sentinel-1"},
    ),
    "an option that there is not": (
        ModelError, "model_config.colour", "colour", FILE, MOSAIKS,
        {"model_config": {"colour": 1}},
    ),
    "no imagery": (
        ModelError, "model", "reads images only", FILE, get_model_class("dino_v2_vits14").card, {},
    ),
    "tiles that do not fit": (
        SpecError, "input_prep.tile_stride", "tile_stride", FILE, MOSAIKS,
        {"input_prep": {"mode": "tile", "tile_size": 8, "tile_stride": 9}},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_rejected_pixels(name: str) -> None:
    """Each error names the field and what is accepted."""
    kind, field, message, file, card, fields = BAD[name]
    with pytest.raises(GeoBentoError) as caught:
        plan(file, card, **fields)
    assert type(caught.value) is kind
    assert (caught.value.field, message in caught.value.message) == (field, True), (
        caught.value.message
    )
