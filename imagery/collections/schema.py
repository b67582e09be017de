"""What is known of a collection of scenes: the record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

Resampling = Literal["nearest", "bilinear"]


@dataclass(frozen=True)
class QualityMask:
    """A band that says which pixels show no ground.

    Attributes:
        band: Its name.
        classes: Values of pixels to leave out.
        bits: Or the bits any of which leaves a pixel out, counted from the lowest.
    """

    band: str
    classes: tuple[int, ...] = ()
    bits: tuple[int, ...] = ()

    @property
    def bitmask(self) -> int:
        """All of the bits."""
        return sum(1 << bit for bit in self.bits)


@dataclass(frozen=True)
class CloudScore:
    """A collection that says of each pixel of another how clear it is.

    Attributes:
        id: Earth Engine id; its images have the indexes of those that they are about.
        band: Band of the scores, 0 to 1.
        threshold: Pixels with less are left out.
    """

    id: str
    band: str
    threshold: float


@dataclass(frozen=True)
class EarthEngineMetadata:
    """What Earth Engine alone has about a collection.

    Attributes:
        cloud_property: Cloud percentage of a scene, if it has one.
        platform_property: Name of the satellite, where several feed the collection.
        tile_property: Name of a scene's tile, where an acquisition may be there twice.
        processing_properties: Greatest, in this order, for the newest of them; answers tell the
            first.
        radar: Scenes differ in mode, polarisation and pass direction.
        cloud_score: How clear pixels are, in another collection.
        integer_range: The numbers are whole, and nearly all lie between these; None: they are not.
        notice: What every answer has to say about this imagery.
        acquisition_date: The collection is one image; when it is from.
        derived_slope: A band that is computed, in degrees, and the band of the heights that it is of.
        band_per_image: Every scene is of one band. The property that says of which, and the band that
            its values are in.
    """

    cloud_property: str | None = None
    platform_property: str | None = None
    tile_property: str | None = None
    processing_properties: tuple[str, ...] = ()
    radar: bool = False
    cloud_score: CloudScore | None = None
    integer_range: tuple[int, int] | None = None
    notice: str | None = None
    acquisition_date: datetime | None = None
    derived_slope: tuple[str, str] | None = None
    band_per_image: tuple[str, str] | None = None


@dataclass(frozen=True)
class Collection:
    """One collection under its Earth Engine id.

    Attributes:
        id: Earth Engine id, the name in requests.
        stac_collections: Collection ids in STAC catalogs, preferred first; none: STAC is not read for it.
        bands: Keys under which STAC catalogs hold each band, tried in order, by the name that
            requests use; ``key.2`` is the second band of the asset ``key``.
        units: Units of the raw values.
        nodata: Value that means no data where a file does not state one; None: NaN.
        resampling: How bands are brought to another lattice.
        snap_m: Pixel corners lie at multiples of this in UTM; None: no common lattice.
        cloud_property: Item property with the cloud percentage of a scene, if it has one.
        mask: Where pixels show no ground.
        mask_assets: Keys under which catalogs hold the band of the mask, tried in order.
        stac_properties: What items of the STAC collections have to state to belong to this one.
        stac_scale: Factor from the values in STAC catalogs to those of the collection.
        stac_power: Power of what the factor gives, whose sign stays: 2 where catalogs hold square
            roots.
        static: The same at all times; the time window does not apply.
        yearly: One image per calendar year, dated within it; a window stands for its year.
        monthly: One image per calendar month, dated within it; a part of a window stands for the
            month in which it begins, and as many more as it is long.
        unmask_value: Value where no scene has data, such as 0 people at sea; None: that is a gap.
        attribution: What has to be said wherever these data are shown.
        harmonized: Digital numbers are brought to the scale without the offset of later
            processing baselines.
        positive_only: Only values above 0 are data (power; scenes have borders of 0).
        valid_range: Between these lie the values of ordinary scenes; None: nothing is known.
        scaling: Factor and offset of bands whose raw values are not in physical units:
            ``raw * factor + offset``.
        gee: What Earth Engine has about it.
    """

    id: str
    stac_collections: tuple[str, ...]
    bands: Mapping[str, tuple[str, ...]]
    units: str
    nodata: float | None = None
    resampling: Resampling = "nearest"
    snap_m: float | None = None
    cloud_property: str | None = None
    mask: QualityMask | None = None
    mask_assets: tuple[str, ...] = ()
    stac_properties: Mapping[str, str] = field(default_factory=dict)
    stac_scale: float = 1.0
    stac_power: float = 1.0
    static: bool = False
    yearly: bool = False
    monthly: bool = False
    unmask_value: float | None = None
    attribution: str | None = None
    harmonized: bool = False
    positive_only: bool = False
    valid_range: tuple[float, float] | None = None
    scaling: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    gee: EarthEngineMetadata = EarthEngineMetadata()


def earth_engine_only(*bands: str) -> dict[str, tuple[str, ...]]:
    """Bands of a collection that no STAC catalog holds."""
    return dict.fromkeys(bands, ())
