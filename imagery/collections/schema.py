"""The metadata record of a collection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

Resampling = Literal["nearest", "bilinear"]


@dataclass(frozen=True)
class QualityMask:
    """A quality band and the values that mask a pixel.

    Attributes:
        band: Name of the band.
        classes: Class values to mask, for a band of classes.
        bits: Bits to mask, for a band of flags. The lowest bit is 0. One set bit is enough.
    """

    band: str
    classes: tuple[int, ...] = ()
    bits: tuple[int, ...] = ()

    @property
    def bitmask(self) -> int:
        """The bits as one integer."""
        return sum(1 << bit for bit in self.bits)


@dataclass(frozen=True)
class CloudScore:
    """A companion collection of per-pixel clear-sky scores.

    Attributes:
        id: Earth Engine id. Its images share ``system:index`` with the scenes they score.
        band: Band of the scores, 0 (cloudy) to 1 (clear).
        threshold: Pixels with a lower score are masked.
    """

    id: str
    band: str
    threshold: float


@dataclass(frozen=True)
class EarthEngineMetadata:
    """Metadata of a collection that only Earth Engine uses.

    Attributes:
        cloud_property: Scene property with the cloud percentage, if there is one.
        platform_property: Scene property with the satellite, for collections of several.
        tile_property: Scene property with the tile, for collections that keep reprocessed scenes
            beside the original ones.
        processing_properties: Scene properties that order reprocessed scenes; the greatest is the
            newest. Responses report the first.
        radar: Scenes differ in mode, polarization and pass direction.
        cloud_score: Companion collection of clear-sky scores.
        integer_range: Values are integers, nearly all within this range. None for other values.
        notice: Notice that every response carries.
        acquisition_date: Date of a collection that is a single image.
        derived_slope: Name of a computed slope band (degrees) and of its elevation band.
        band_per_image: For collections whose images hold one band each: the property that names
            the band, and the band that holds its values.
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
    """A collection, identified by its Earth Engine id.

    Attributes:
        id: Earth Engine id, as requests name it.
        stac_collections: Ids of the STAC collections with the same data, preferred first. Empty
            for collections that only Earth Engine has.
        bands: STAC asset keys of each band, tried in order. ``key.2`` is the second band of the
            asset ``key``.
        units: Units of the raw values.
        nodata: No-data value of files that declare none. None stands for NaN.
        resampling: Resampling onto other pixel grids.
        snap_m: Pixel corners lie at multiples of this in UTM, meters. None if scenes share no
            grid.
        cloud_property: STAC item property with the cloud percentage, if there is one.
        mask: Quality band that masks pixels.
        mask_assets: STAC asset keys of the quality band, tried in order.
        stac_properties: Property values that select this collection's items.
        stac_scale: Factor from STAC values to the collection's values.
        stac_power: Exponent applied after the factor, keeping the sign: 2 for files that store
            square roots.
        static: Independent of time; the time window is ignored.
        yearly: One image per calendar year, dated within it. A window stands for its year.
        monthly: One image per calendar month, dated within it. A time bin stands for the month of
            its start, and for as many months as it is long.
        unmask_value: Value of pixels without data, such as 0 people at sea. None leaves a gap.
        attribution: Attribution that the license requires.
        harmonized: The offset of later processing baselines is subtracted.
        positive_only: Values of 0 or less are no data (radar power has borders of 0).
        valid_range: Range of the values of ordinary scenes. None if unknown.
        scaling: Factor and offset of bands whose raw values are not physical:
            ``raw * factor + offset``.
        gee: Earth Engine metadata.
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
