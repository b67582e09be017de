"""What a file and a request say of user-supplied pixels."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

pytest.importorskip("transformers")

from geobento.schemas.errors import SpecError
from geobento.schemas.requests import PixelEmbeddingRequest
from models.galileo.model import Galileo
from pipeline.inputs.raster_uploads import RasterUpload, read_raster
from pipeline.planning.user_pixels import _names_alpha_band
from tests import geotiffs
from tests.pipeline.planning.user_pixels_files import (
    ANYSAT,
    DOFA,
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


def test_metadata_of_the_file_is_enough() -> None:
    """Pixels, names, units, region and validity become a sample as a source gives it."""
    seen = RANDOM.integers(0, 2, (24, 30)).astype(bool)
    result = plan(replace(FILE, mask=seen, **UTM)).sample  # type: ignore[arg-type]
    np.testing.assert_array_equal(result.pixels, np.where(seen, NUMBERS, 0))
    np.testing.assert_array_equal(result.valid, seen)
    assert result.pixels.dtype == np.float32
    assert (result.bands, result.modality, result.times) == (S2, "s2", ())
    assert result.grid is not None
    assert (result.grid.crs, result.grid.transform) == (geotiffs.CRS, geotiffs.TRANSFORM)
    assert result.grid.shape == (24, 30)
    assert result.provenance is not None
    assert (result.provenance.backend, result.provenance.source) == ("user", "GeoTIFF")


def test_nothing_is_made_up() -> None:
    """Without a region and times there is none in the sample."""
    result = plan().sample
    assert result.grid is None
    assert result.times == ()
    assert result.provenance is not None
    assert result.provenance.scenes == ()


def test_the_request_goes_before_the_file() -> None:
    """Names, units, region and no-data of the request count."""
    file = replace(FILE, nodata=1, **UTM)  # type: ignore[arg-type]
    other: dict[str, Any] = {"crs": "EPSG:32632", "transform": (20, 0, 0, 0, -20, 0)}
    first = int(NUMBERS[0, 0, 0])
    result = plan(
        replace(file, pixels=NUMBERS / 10_000), bands=S2[::-1], units="reflectance", **other,
        nodata=first / 10_000,
    ).sample  # fmt: skip
    assert result.grid is not None
    assert (result.grid.crs, result.grid.transform) == ("EPSG:32632", (20, 0, 0, 0, -20, 0))
    assert result.valid is not None
    np.testing.assert_array_equal(result.valid, np.not_equal(NUMBERS, first).all(axis=0))
    has = NUMBERS[::-1] != first
    np.testing.assert_allclose(result.pixels[has], NUMBERS[::-1][has], rtol=1e-6)


def test_bands_are_found_by_name() -> None:
    """In any order, among others."""
    order = RANDOM.permutation(14)
    names = [(*S2, "SCL", "B10")[at] for at in order]
    pixels = np.concatenate([NUMBERS, np.zeros((2, 24, 30), np.uint16)])[order]
    np.testing.assert_array_equal(plan(replace(FILE, pixels=pixels), bands=names).sample.pixels,
                                  NUMBERS)  # fmt: skip


@pytest.mark.parametrize(
    ("file", "units"),
    [
        (replace(FILE, units="Digital Numbers"), None),
        (replace(FILE, units=None), "digital numbers"),
        (replace(FILE, units=None), MOSAIKS.modalities["s2"].units),
        (replace(FILE, units=None), "digital numbers, surface reflectance x 10000"),
        (replace(FILE, units=None, pixels=NUMBERS / 10_000), "reflectance"),
        (replace(FILE, units="reflectance", pixels=NUMBERS / 10_000), None),
        (replace(FILE, units=None, scaling=((1e-4, 0.0),) * 12), None),
        (replace(FILE, units="reflectance", scaling=((1e-4, 0.0),) * 12), None),
    ],
)
def test_units(file: RasterUpload, units: str | None) -> None:
    """All ways to say what the numbers mean lead to the same numbers."""
    np.testing.assert_allclose(plan(file, units=units).sample.pixels, NUMBERS, rtol=1e-6)


def test_no_data() -> None:
    """NaN and the stated value; a pixel counts where all bands have data."""
    pixels = NUMBERS.astype(np.float32)
    pixels[0, 0] = np.nan
    pixels[1, 1] = np.float32(0.1)
    result = plan(replace(FILE, pixels=pixels, nodata=0.1)).sample
    assert result.valid is not None
    assert not result.valid[:2].any()
    assert result.valid[2:].all()
    assert (result.pixels[0, 0] == 0).all()


def test_radar_has_power_where_it_has_data() -> None:
    """Zeros beyond the edge of a scene are none."""
    power = POWER.copy()
    power[0, :3] = 0
    file = RasterUpload("NumPy array", power, bands=("VV", "VH"), units="linear power")
    result = plan(file, THOR, modality="sentinel-1", **UTM).sample
    assert result.modality == "s1"
    assert result.valid is not None
    assert (result.valid.sum(axis=1) == [0] * 3 + [30] * 21).all()


def test_models_that_read_any_bands() -> None:
    """The default ones if they are there; else those that are, and the answer says so."""
    whole = plan(replace(FILE, **UTM), THOR)  # type: ignore[arg-type]
    assert whole.sample.bands == THOR.modalities["s2"].sensor.bands
    assert whole.warnings == ()
    some = plan(replace(FILE, pixels=NUMBERS[:3], **UTM), THOR, bands=("B8", "SCL", "B4"))  # type: ignore[arg-type]
    assert set(some.sample.bands) == {"B4", "B8"}
    np.testing.assert_array_equal(some.sample.pixels[some.sample.bands.index("B4")], NUMBERS[2])
    (warning,) = some.warnings
    assert "B4" in warning


def test_aerial_images() -> None:
    """Bands are put in order; their brightness is no reflectance, nor brighter than 8 bits."""
    pixels = RANDOM.integers(0, 256, (4, 250, 250)).astype(np.uint8)
    metadata = {"crs": geotiffs.CRS, "transform": (0.2, 0, 0, 0, -0.2, 0), "times": [JUNE]}
    file = RasterUpload("NumPy array", pixels, bands=("N", "R", "G", "B"), units="8-bit brightness")
    result = plan(file, ANYSAT, modality="aerial", **metadata).sample
    assert result.bands == ("R", "G", "B", "N")
    np.testing.assert_array_equal(result.pixels, pixels[[1, 2, 3, 0]])
    with pytest.raises(SpecError, match=r"accepted: '8-bit brightness'$"):
        plan(replace(file, units="reflectance"), ANYSAT, modality="aerial", **metadata)
    with pytest.raises(SpecError, match="not in these units"):
        plan(replace(file, pixels=16.0 * pixels), ANYSAT, modality="aerial", **metadata)


def test_bands_that_the_request_describes() -> None:
    """All bands are read, in the order of the file, as they are stored."""
    scores = RANDOM.normal(size=(2, 24, 30)).astype(np.float32)
    options = {"wavelengths_um": [0.4, 10], "mean": [0, 0], "std": [1, 1]}
    result = plan(
        RasterUpload("NumPy array", scores, bands=("x", "B2")), DOFA, model_config=options
    )
    assert result.sample.bands == ("x", "B2")
    np.testing.assert_array_equal(result.sample.pixels, scores)


def test_images_over_time() -> None:
    """One time per frame; of one image, those of its scenes."""
    file = replace(FILE, pixels=SERIES, **UTM)  # type: ignore[arg-type]
    times = ["2023-05-02", "2023-06-11T10:30:00Z"]
    result = plan(file, Galileo.card, times=times).sample
    assert result.pixels.shape == (2, 10, 24, 30)
    assert result.valid is not None
    assert result.valid.shape == (2, 24, 30)
    assert result.times == (
        datetime(2023, 5, 2, tzinfo=UTC),
        datetime(2023, 6, 11, 10, 30, tzinfo=UTC),
    )
    assert plan(replace(file, pixels=SERIES[:1]), Galileo.card, times=times).sample.pixels.ndim == 3


def with_alpha(name: str | None, opacity: int = 65_535) -> RasterUpload:
    """A GeoTIFF of all bands with an alpha band, of which the left half is clear."""
    alpha = np.full((1, *NUMBERS.shape[1:]), opacity, np.uint16)
    alpha[..., : NUMBERS.shape[2] // 2] = 0
    names = [*S2, name] if name is not None else None
    data = geotiffs.geotiff(
        np.concatenate([NUMBERS, alpha]),
        bands=names,
        units="digital numbers",
        alpha=len(S2),
    )
    return read_raster(data, 100_000)


@pytest.mark.parametrize("opacity", [1, 255, 65_535])
@pytest.mark.parametrize("name", ["alpha", "Mask"])
def test_alpha_is_a_mask(name: str, opacity: int) -> None:
    """Where it is 0 there are no data, as with a nodata value; it is no band."""
    half = NUMBERS.shape[2] // 2
    sample = plan(with_alpha(name, opacity)).sample
    assert sample.bands == S2
    assert sample.valid is not None
    assert not sample.valid[:, :half].any()
    np.testing.assert_array_equal(sample.pixels[..., half:], NUMBERS[..., half:])
    for bands in (S2, (*S2, "alpha")):
        by_request = plan(with_alpha(None, opacity), bands=bands).sample
        np.testing.assert_array_equal(by_request.pixels, sample.pixels)


def test_all_clear() -> None:
    """No pixel is left."""
    with pytest.raises(SpecError, match="no pixel has data"):
        plan(with_alpha("alpha", 0))


def test_a_data_band_may_have_the_tag_of_alpha() -> None:
    """Writers tag the fourth band so by default; a name in the file or the request counts more."""
    data = NUMBERS[:4].copy()
    data[3] = 0
    file = read_raster(
        geotiffs.geotiff(data, bands=("B2", "B3", "B4", "B8"), photometric="RGB", alpha=3),
        100_000,
    )
    assert file.alpha is None
    unnamed = read_raster(geotiffs.geotiff(data, photometric="RGB", alpha=3), 100_000)
    assert unnamed.alpha == 3
    assert unnamed.with_alpha_as_mask().pixels.shape[0] == 3
    names = ["B2", "B3", "B4", "B8"]
    assert _names_alpha_band(PixelEmbeddingRequest(model="m", pixels=b"", bands=names), unnamed)
    assert not _names_alpha_band(
        PixelEmbeddingRequest(model="m", pixels=b"", bands=[*names[:3], "alpha"]), unnamed
    )
