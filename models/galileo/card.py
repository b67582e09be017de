"""What there is to know about Galileo: its card, inputs and statistics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from geobento.schemas.cards import (
    Modality,
    ModelCard,
    Normalization,
    TimeSeries,
    Variant,
    WeightsSource,
)
from geobento.schemas.specs import Composite, SensorSpec

S2_BANDS = ("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12")
S2_MEAN = (
    1395.3408730676722, 1338.4026921784578, 1343.09883810357, 1543.8607982512297,
    2186.2022069512263, 2525.0932853316694, 2410.3377187373408, 2750.2854646886753,
    2234.911100061487, 1474.5311266077113,
)  # fmt: skip
S2_STD = (
    917.7041440370853, 913.2988423581528, 1092.678723527555, 1047.2206083460424,
    1048.0101611156767, 1143.6903026819996, 1098.979177731649, 1204.472755085893,
    1145.9774063078878, 980.2429840007796,
)  # fmt: skip
DW_BANDS = (
    "water", "trees", "grass", "flooded_vegetation", "crops", "shrub_and_scrub", "built", "bare",
    "snow_and_ice",
)  # fmt: skip
WC_BANDS = ("temporarycrops", "maize", "wintercereals", "springcereals", "irrigation")

PRIMARY_MODALITIES = ("s1", "s2")
"""Modalities that can be asked for on their own; the others only go with one of them."""
SERIES_MODALITIES = ("era5", "terraclimate", "viirs")
"""Modalities with one value per time step for the whole place."""
MAP_MODALITIES = ("srtm", "dynamic_world", "worldcereal")
"""Modalities without time."""
TOKENS_PER_PATCH = {"s2": 6, "s1": 1}
"""Tokens of each patch and frame; Sentinel-2 has five groups of bands, and NDVI."""

DEFAULT_PATCH_SIZE = 4
DEFAULT_MONTH = 5
"""What the authors take where the month is not known, counted from 0: June."""
DEFAULT_RESOLUTION_M = 10.0
"""What the authors take where the size of a pixel is not known."""
TILE_SIZE = 32
"""8 x 8 patches, pixels."""
MAX_TOKENS = 16_384
"""Attention grows with the square of the tokens."""


TIME_SERIES = TimeSeries(default_frames=12, max_frames=24, days_per_frame=30, align_frames=True)
"""As the authors do: a composite for every 30 days, up to a year of them."""


def _two_sigma_normalization(mean: Sequence[float], std: Sequence[float]) -> Normalization:
    """Two standard deviations below the mean become 0, two above it 1."""
    return Normalization(
        offset=tuple(m - 2 * s for m, s in zip(mean, std, strict=True)),
        scale=tuple(1 / (4 * s) for s in std),
    )


def _division_normalization(bands: int, divisor: float) -> Normalization:
    return Normalization(offset=(0.0,) * bands, scale=(1 / divisor,) * bands)


def _auxiliary_modality(
    collection: str,
    bands: tuple[str, ...],
    units: str,
    statistics: Normalization,
    scale_m: float,
    composite: Composite = "mean",
    **fields: Any,
) -> Modality:
    return Modality(
        sensor=SensorSpec(collection, bands, scale_m=scale_m, cloudy_pct=None, composite=composite),
        units=f"{units} (only beside s2 or s1)",
        normalization=statistics,
        auxiliary=True,
        **fields,
    )


CARD = ModelCard(
    id="galileo",
    aliases=("galileo_nano", "galileo_tiny", "galileo_base"),
    title="Galileo",
    kind="on_the_fly",
    paper="Tseng et al., Galileo: Learning Global and Local Features of Many Remote Sensing "
    "Modalities, arXiv:2502.09356",
    summary=(
        "A transformer trained on 127,155 places with Sentinel-1 and Sentinel-2 over up to 12 "
        "months, elevation, land cover, climate and night lights, to predict its own features at "
        "fine and at coarse scale. Reads whatever of these is there; strong for crops, land cover "
        "and change through the year, from single images as from time series."
    ),
    licence="MIT",
    variants={
        "nano": Variant(
            dim=128,
            aliases=("galileo_nano",),
            title="4 blocks",
            parameters=1_037_856,
            repository="nasaharvest/galileo",
            files=("models/nano/encoder.pt", "models/nano/config.json"),
        ),
        "tiny": Variant(
            dim=192,
            aliases=("galileo_tiny",),
            title="12 blocks",
            parameters=5_705_520,
            repository="nasaharvest/galileo",
            files=("models/tiny/encoder.pt", "models/tiny/config.json"),
        ),
        "base": Variant(
            dim=768,
            aliases=("galileo_base",),
            title="12 blocks",
            parameters=86_523_072,
            repository="nasaharvest/galileo",
            files=("models/base/encoder.pt", "models/base/config.json"),
        ),
    },
    default_variant="nano",
    modalities={
        "s2": Modality(
            sensor=SensorSpec("COPERNICUS/S2_HARMONIZED", S2_BANDS),
            units="digital numbers, top-of-atmosphere reflectance x 10000",
            normalization=_two_sigma_normalization(S2_MEAN, S2_STD),
            min_pixels=DEFAULT_PATCH_SIZE,
            tile=TILE_SIZE,
            series=TIME_SERIES,
            auxiliary=True,
        ),
        "s1": Modality(
            sensor=SensorSpec("COPERNICUS/S1_GRD_FLOAT", ("VV", "VH"), cloudy_pct=None),
            units="linear power; scaled as decibels",
            normalization=_two_sigma_normalization(
                (-11.728724389184965, -18.85558188024017), (4.887145774840316, 5.730270320384293)
            ),
            min_pixels=DEFAULT_PATCH_SIZE,
            tile=TILE_SIZE,
            series=TIME_SERIES,
            auxiliary=True,
        ),
        "srtm": _auxiliary_modality(
            "USGS/SRTMGL1_003",
            ("elevation", "slope"),
            "metres, and degrees",
            _two_sigma_normalization(
                (673.0152819503361, 5.930092668915115), (983.0697298296237, 8.167406789813247)
            ),
            30,
            "mosaic",
        ),
        "dynamic_world": _auxiliary_modality(
            "GOOGLE/DYNAMICWORLD/V1",
            DW_BANDS,
            "mean probabilities, 0 to 1",
            _division_normalization(9, 1),
            10,
            margin_days=31,
        ),
        "worldcereal": _auxiliary_modality(
            "ESA/WorldCereal/2021/MODELS/v100",
            WC_BANDS,
            "percent",
            _division_normalization(5, 100),
            10,
            "mosaic",
        ),
        "era5": _auxiliary_modality(
            "ECMWF/ERA5_LAND/MONTHLY_AGGR",
            ("temperature_2m", "total_precipitation_sum"),
            "kelvin, and metres per month",
            _two_sigma_normalization(
                (271.5674963541667, 0.08554303677156568), (79.80828940314429, 0.11669547098151486)
            ),
            10_000,
            series=TIME_SERIES,
        ),
        "terraclimate": _auxiliary_modality(
            "IDAHO_EPSCOR/TERRACLIMATE",
            ("def", "soil", "aet"),
            "raw values of the collection, 0.1 mm per month",
            _two_sigma_normalization(
                (657.3181260091111, 692.1291795806885, 562.781331880633),
                (704.0008695557707, 925.0116126406431, 453.2434022278578),
            ),
            5_000,
            series=TIME_SERIES,
        ),
        "viirs": _auxiliary_modality(
            "NOAA/VIIRS/DNB/MONTHLY_V1/VCMCFG",
            ("avg_rad",),
            "nW / (cm2 sr)",
            _two_sigma_normalization((1.5647115934036673,), (7.513020170832818,)),
            500,
            series=TIME_SERIES,
        ),
        "landscan": _auxiliary_modality(
            "projects/sat-io/open-datasets/ORNL/LANDSCAN_GLOBAL",
            ("b1",),
            "people per cell of about 1 km2",
            # The authors keep this one in whole numbers.
            Normalization(offset=(-2120.0,), scale=(1 / 4618,)),
            1_000,
        ),
    },
    default_modality="s2",
    pooling=(
        "mean of the tokens of all patches, months and groups of channels after the final norm, "
        "not normalised; a cell of the grid is the mean of its own tokens and those of the whole "
        "place, so both are in the same space"
    ),
    notes=(
        "rs-embed gives raw digital numbers to the network (its default `norm: none`) and "
        "surface reflectance in place of L1C; the authors and this service scale L1C by the "
        "statistics of the training data to about 0..1.",
        "rs-embed and the authors' public input builder leave NDVI out; the authors' training and "
        "evaluation give it to the network, and so does this service.",
        "rs-embed resizes every place to 64 x 64 pixels but says 10 m to the network; here pixels "
        "keep their size, which the network is told. Sides that are no multiple of the patch are "
        "resized to the nearest one.",
        "The authors take consecutive steps of 30 days from the first of a month and mosaic the "
        "least cloudy pixels of each; here the window goes into as many equal parts as it has "
        "times 30 days, and each is the median of its scenes that are clear enough.",
        "Climate and night lights are of the calendar month in which a part of the window begins, "
        "as the authors take ERA5 and VIIRS; of TerraClimate they take the month whose first day "
        "is nearest to the middle of a step. Of parts longer than a month it is the mean.",
        "Where a month is missing, such as October 2023 of VIIRS, that part of the window is left "
        "out; the authors take the month after.",
        "LandScan is the mean of the years that the window lies in; the authors, whose windows "
        "begin in 2022, take its first year from 2022 at the latest.",
        "The authors' code reads square images only; here h and w may differ.",
        "Cells carry where in the input they are, more than what they show. To compare cells of a "
        "place, take off what all tiles have in common, as examples/principal_components.py does.",
        "The network was trained on decibels of sigma nought (Earth Engine's GRD); here they are "
        "made from linear power, which STAC catalogs have as terrain-corrected gamma nought. "
        "Pixels without power are at -50 dB.",
    ),
    feature="mean",
    weights=WeightsSource(
        source="nasaharvest/galileo",
        revision="0f0b5b95ac81acef4b74cf4686dc877202f4541b",
        licence="MIT",
    ),
    required_metadata=("times", "pixel_size"),
    config_schema={
        "type": "object",
        "properties": {
            "patch_size": {
                "type": "integer",
                "minimum": 1,
                "maximum": 8,
                "default": DEFAULT_PATCH_SIZE,
                "description": "Side of a patch, pixels: smaller ones give a finer grid and take "
                "longer. The space of the vectors stays the same.",
            },
            "location": {
                "type": "boolean",
                "default": False,
                "description": "Whether the network is told longitude and latitude of the place.",
            },
            **TIME_SERIES.options,
        },
    },
    max_batch_size=8,
)
