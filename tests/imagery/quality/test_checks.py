"""Whether pixels look like what their collection holds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from geobento.schemas.sample import Sample
from imagery.collections import registry
from imagery.quality.checks import quality_warnings
from imagery.quality.quicklook import render_quicklook

S2 = registry.get("COPERNICUS/S2_SR_HARMONIZED")
RANDOM = np.random.default_rng(0)
PIXELS = RANDOM.integers(200, 4000, (3, 20, 30)).astype(np.float32)
GOOD = Sample(PIXELS, ("B4", "B3", "B2"), "s2", valid=np.ones((20, 30), bool))


def changed(band: int, value: float, rows: int = 20) -> Sample:
    """The good sample with a value in the first rows of one band."""
    pixels = PIXELS.copy()
    pixels[band, :rows] = value
    return replace(GOOD, pixels=pixels)


def test_ordinary_pixels() -> None:
    """Nothing is said of a scene as it comes, a few glints and no validity included."""
    assert quality_warnings(GOOD, S2) == []
    assert quality_warnings(replace(GOOD, valid=None), S2) == []
    glint = PIXELS.copy()
    glint[0, 0, :5] = 30_000
    assert quality_warnings(replace(GOOD, pixels=glint), S2) == []
    dark = np.round(RANDOM.normal(30, 10, PIXELS.shape)).astype(np.float32)
    assert quality_warnings(replace(GOOD, pixels=dark), S2) == []


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (changed(1, 0), "B3 is 0 everywhere"),
        (changed(0, float("nan"), 1), "B4 has values that are not finite"),
        (changed(2, 60_000, 2), "10.0% of B2 lie outside of -1000 to 20000"),
        (changed(2, -5000, 2), "10.0% of B2 lie outside"),
        (replace(GOOD, pixels=PIXELS / 10_000), "scaled already"),
        (replace(GOOD, pixels=(PIXELS - 2000) / 1000), "scaled already"),
        (replace(GOOD, pixels=(PIXELS - 2000) / 50), "scaled already"),
        (replace(GOOD, valid=np.arange(600).reshape(20, 30) < 30), "only 5.0% of the pixels"),
        (replace(GOOD, valid=np.zeros((20, 30), bool)), "only 0.0% of the pixels"),
    ],
)
def test_warnings(sample: Sample, message: str) -> None:
    """One sentence that names the band and the number."""
    (result,) = quality_warnings(sample, S2)
    assert message in result


def test_other_collections_have_other_ranges() -> None:
    """Radar power of some hundredths is as it should be, heights of 60 km are not."""
    radar = Sample(RANDOM.gamma(2, 0.02, (2, 9, 9)).astype(np.float32), ("VV", "VH"), "s1")
    assert quality_warnings(radar, registry.get("COPERNICUS/S1_GRD_FLOAT")) == []
    coast = Sample(RANDOM.uniform(0, 1, (1, 9, 9)).astype(np.float32), ("DEM",), "dem")
    assert quality_warnings(coast, registry.get("COPERNICUS/DEM/GLO30")) == []
    heights = Sample(RANDOM.normal(6e4, 9, (1, 9, 9)).astype(np.float32), ("DEM",), "dem")
    (result,) = quality_warnings(heights, registry.get("COPERNICUS/DEM/GLO30"))
    assert "100.0% of DEM" in result


def test_an_image_of_the_pixels() -> None:
    """True colour where there are the bands, else grey; black where there are no data."""
    valid = np.ones((20, 30), bool)
    valid[:, 0] = False
    image = render_quicklook(replace(GOOD, valid=valid))
    assert (image.mode, image.size) == ("RGB", (30, 20))
    assert image.getpixel((0, 5)) == (0, 0, 0)
    red = np.asarray(image)[..., 0][valid]
    assert red[PIXELS[0][valid].argmax()] == 255
    grey = render_quicklook(replace(GOOD, bands=("VV", "VH", "HH")))
    assert grey.mode == "L"
    empty = render_quicklook(replace(GOOD, valid=np.zeros((20, 30), bool)))
    assert not np.asarray(empty).any()
