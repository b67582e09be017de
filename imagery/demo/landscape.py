"""Synthetic landscapes as satellites see them: land cover, seasons, clouds. Pure.

Everything is derived from a seed. Arrays are (rows, columns), first row north, 10 m pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
ByteArray = NDArray[np.uint8]

BANDS = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B11", "B12")

GREEN = (250, 320, 620, 380, 950, 2700, 3350, 3550, 3750, 3800, 1750, 850)
STRAW = (480, 640, 950, 1300, 1650, 1950, 2150, 2350, 2550, 2650, 3000, 2200)
SOIL = (650, 850, 1150, 1550, 1850, 2050, 2250, 2450, 2650, 2750, 3400, 2900)
CANOPY = (200, 230, 430, 260, 660, 1950, 2450, 2650, 2800, 2850, 1250, 560)
WATER = (520, 480, 430, 270, 210, 160, 140, 120, 110, 100, 60, 40)
ROOF = (1150, 1350, 1550, 1800, 1950, 2050, 2100, 2200, 2250, 2300, 2550, 2350)
ASPHALT = (800, 850, 920, 980, 1030, 1080, 1120, 1180, 1220, 1260, 1380, 1320)
CLOUD = (8200, 8000, 7800, 7700, 7700, 7750, 7800, 7800, 7750, 7600, 4300, 3500)
"""Surface reflectance x 10000 in the order of `BANDS`."""

HAZE = (1050, 800, 500, 310, 260, 210, 180, 150, 130, 20, 20, 10)
"""Path reflectance of the atmosphere x 10000, larger at shorter wavelengths."""
TRANSMITTANCE = (0.76, 0.80, 0.84, 0.88, 0.90, 0.91, 0.92, 0.93, 0.94, 0.45, 0.96, 0.95)
"""Fraction of the surface signal that reaches space; water vapor absorbs much of B9."""

FIELD, FOREST, RIVER, TOWN, ROAD = range(5)

BACKSCATTER_DB = {
    FIELD: (-11.5, -18.0),
    FOREST: (-8.0, -13.5),
    RIVER: (-20.0, -27.0),
    TOWN: (-3.5, -11.0),
    ROAD: (-15.0, -22.0),
}
"""Gamma nought of VV and VH in decibels, before crops and speckle."""

RADAR_LOOKS = 5
REFLECTANCE_STEP = 8
"""Reflectance is rounded to multiples of this, so that files compress better."""


EMBEDDING_DIM, AXES_SEED, TRAIT_STEPS = 64, 64, 4
"""Dimension of the embeddings, seed of their axes, and quantization steps of the traits."""


@dataclass(frozen=True)
class Landscape:
    """A square landscape.

    Attributes:
        seed: Seed of all random numbers.
        size: Side, pixels.
        peak_month: Month (1 to 12) of the greenest vegetation.
        base_m: Lowest elevation, meters.
        relief_m: Height of the hills above it, meters.
    """

    seed: int
    size: int
    peak_month: float
    base_m: float
    relief_m: float

    @cached_property
    def elevation(self) -> FloatArray:
        """Elevation above the geoid in meters; the river lies in the valley."""
        hills = fractal_noise(self._random("relief"), self.size, 96)
        valley = np.minimum(self._river_distance / 60, 1)
        height = self.base_m + self.relief_m * hills * (0.3 + 0.7 * valley)
        return np.round(height, 1).astype(np.float32)

    @cached_property
    def land_cover(self) -> ByteArray:
        """Land cover class of every pixel: FIELD, FOREST, RIVER, TOWN or ROAD."""
        cover = np.full((self.size, self.size), FIELD, np.uint8)
        cover[fractal_noise(self._random("forest"), self.size, 64) > 0.58] = FOREST
        rows, columns = _coordinates(self.size)
        random = self._random("town")
        center = random.uniform(0.25, 0.75, 2) * self.size
        ragged = fractal_noise(random, self.size, 24) * 18
        away = np.hypot(rows - center[0], columns - center[1])
        cover[away + ragged < 36] = TOWN
        for angle in random.uniform(0, np.pi, 2):
            line = (rows - center[0]) * np.cos(angle) - (columns - center[1]) * np.sin(angle)
            bend = 10 * (value_noise(random, self.size, 128) - 0.5)
            cover[np.abs(line + bend) < 0.9] = ROAD
        cover[self._river_distance < 5] = RIVER
        return cover

    def reflectance(self, month: int) -> FloatArray:
        """Cloud-free surface reflectance x 10000 of a month: (12, H, W) in the order of `BANDS`."""
        green, bare = self._crops(month)
        texture = self._texture
        ground = _mix_spectra(
            {
                GREEN: green,
                STRAW: (1 - green) * (1 - bare),
                SOIL: (1 - green) * bare,
            }
        )
        cover = self.land_cover[None]
        leaf = 0.75 + 0.25 * self._season(month, 0.6)
        canopy = _mix_spectra(
            {CANOPY: np.full_like(green, leaf), STRAW: np.full_like(green, 1 - leaf)}
        )
        built = _mix_spectra({ROOF: self._roof_fraction, ASPHALT: 0.7 * (1 - self._roof_fraction),
                      GREEN: 0.3 * (1 - self._roof_fraction)})  # fmt: skip
        scene = np.where(cover == FOREST, canopy * (0.8 + 0.4 * self._tree_crowns), ground)
        scene = np.where(cover == TOWN, built, scene)
        scene = np.where(cover == ROAD, _spectrum_column(ASPHALT), scene)
        lit = scene * self._illumination * texture
        ripple = 0.9 + 0.2 * value_noise(self._random("water"), self.size, 12)
        return np.where(cover == RIVER, _spectrum_column(WATER) * ripple, lit).astype(np.float32)

    def scene(self, month: int, cloud_fraction: float) -> tuple[NDArray[np.uint16], ByteArray]:
        """A Sentinel-2 scene of a month.

        Args:
            month: 1 to 12.
            cloud_fraction: Cloud fraction, 0 to 1.

        Returns:
            Digital numbers (12, H, W) and the scene classification (H, W).
        """
        random = self._random(f"clouds {month}")
        ground = self.reflectance(month)
        opacity = _cloud_opacity(random, self.size, cloud_fraction)
        shadow = _shift(opacity, 9, 6) * (opacity < 0.1)
        reflectance = ground * (1 - 0.55 * shadow)
        reflectance = reflectance * (1 - opacity) + _spectrum_column(CLOUD) * opacity
        noise = random.normal(0, 12, reflectance.shape)
        numbers = np.clip(
            np.round((reflectance + noise) / REFLECTANCE_STEP) * REFLECTANCE_STEP,
            REFLECTANCE_STEP,
            16000,
        )
        return numbers.astype(np.uint16), self._scene_classification(ground, opacity, shadow)

    def backscatter(self, month: int) -> FloatArray:
        """Gamma nought of VV and VH with speckle: (2, H, W) in linear power."""
        random = self._random(f"radar {month}")
        green, _ = self._crops(month)
        power = np.zeros((2, self.size, self.size))
        for cover, decibels in BACKSCATTER_DB.items():
            for channel, value in enumerate(decibels):
                level = value + (3.5 * green if cover == FIELD else 0)
                power[channel] = np.where(
                    self.land_cover == cover, 10 ** (level / 10), power[channel]
                )
        power *= random.gamma(RADAR_LOOKS, 1 / RADAR_LOOKS, power.shape)
        power *= 1 + 1.5 * (self._illumination - 1)
        steps = np.round(10 * np.log10(np.maximum(power, 1e-4)) * 4) / 4
        return (10 ** (steps / 10)).astype(np.float32)

    def embeddings(self) -> NDArray[np.int8]:
        """Unit vectors (64, H, W) that separate land covers, crops and elevations.

        Quantized as in the real product: ``127.5 * sign(v) * sqrt(|v|)``.
        """
        covers = np.stack(
            [self.land_cover == cover for cover in (FIELD, FOREST, RIVER, TOWN, ROAD)]
        )
        seasons = np.stack([self._crops(month)[0] * covers[0] for month in (2, 5, 8, 11)])
        height = (self.elevation - self.base_m) / max(self.relief_m, 1)
        traits = (
            np.round(np.concatenate([covers, seasons, height[None]]) * TRAIT_STEPS) / TRAIT_STEPS
        )
        # All regions share the axes, so that their vectors are comparable.
        axes = np.random.Generator(np.random.PCG64(AXES_SEED)).normal(
            size=(EMBEDDING_DIM, len(traits))
        )
        vectors = np.tensordot(axes, traits, 1)
        vectors /= np.linalg.norm(vectors, axis=0)
        return np.round(127.5 * np.sign(vectors) * np.sqrt(np.abs(vectors))).astype(np.int8)

    def _random(self, purpose: str) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64([self.seed, *purpose.encode()]))

    def _season(self, month: float, phase: float = 0.0) -> float:
        """Greenness: 0 in the middle of the dry or cold season, 1 at the peak."""
        return float(0.5 + 0.5 * np.cos((month - self.peak_month - phase) / 6 * np.pi))

    @cached_property
    def _parcels(self) -> NDArray[np.int64]:
        """Field number of every pixel: rectangles of a tilted, jittered lattice."""
        random = self._random("parcels")
        rows, columns = _coordinates(self.size)
        tilt = random.uniform(0.1, 0.6)
        along = rows * np.cos(tilt) + columns * np.sin(tilt) + 2000
        across = columns * np.cos(tilt) - rows * np.sin(tilt) + 2000
        strip = (along // 26).astype(np.int64)
        widths = random.integers(11, 30, strip.max() + 2)
        starts = random.integers(0, 30, strip.max() + 2)
        plot = ((across + starts[strip]) // widths[strip]).astype(np.int64)
        _, numbers = np.unique(strip * 100_000 + plot, return_inverse=True)
        return numbers.reshape(self.size, self.size)

    def _crops(self, month: int) -> tuple[FloatArray, FloatArray]:
        """Green fraction (H, W), and the bare-soil fraction of the rest (H, W)."""
        random = self._random("crops")
        count = self._parcels.max() + 1
        kind = random.random(count)
        shift = np.where(kind < 0.45, 0.0, np.where(kind < 0.75, 1.6, -2.2))
        shift = shift + random.normal(0, 0.35, count)
        vigor = random.uniform(0.6, 1.0, count)
        swing = 0.5 + 0.5 * np.cos((month - self.peak_month - shift) / 6 * np.pi)
        pasture = kind > 0.9
        green = np.where(pasture, 0.25 + 0.45 * self._season(month), swing**2.2) * vigor
        bare = np.where(pasture, 0.1, np.clip(1.2 - 1.6 * swing, 0, 1)) * random.uniform(
            0.6, 1, count
        )
        patchy = 0.85 + 0.3 * value_noise(self._random("soil"), self.size, 20)
        return (
            np.clip(green[self._parcels] * patchy, 0, 1).astype(np.float32),
            np.clip(bare[self._parcels], 0, 1).astype(np.float32),
        )

    @cached_property
    def _river_distance(self) -> FloatArray:
        random = self._random("river")
        rows, columns = _coordinates(self.size)
        bends = (value_noise(random, self.size, 80)[:, :1] - 0.5) * self.size * 0.9
        middle = random.uniform(0.35, 0.65) * self.size
        lean = random.uniform(-0.35, 0.35)
        distance = columns - middle - lean * (rows - self.size / 2) - bends
        return np.asarray(np.abs(distance), np.float32)

    @cached_property
    def _illumination(self) -> FloatArray:
        """Brightness by slope with the sun in the southeast, as in the morning; mean about 1."""
        north, east = np.gradient(self.elevation.astype(np.float64), 10)
        return np.asarray(np.clip(1 + 0.84 * (north - east), 0.6, 1.4), np.float32)

    @cached_property
    def _texture(self) -> FloatArray:
        furrows = self._random("texture").normal(1, 0.025, (self.size, self.size))
        return furrows.astype(np.float32)

    @cached_property
    def _tree_crowns(self) -> FloatArray:
        return value_noise(self._random("crowns"), self.size, 3)

    @cached_property
    def _roof_fraction(self) -> FloatArray:
        """Fraction of roofs in the town: blocks of houses between streets."""
        random = self._random("blocks")
        rows, columns = _coordinates(self.size)
        tilt = random.uniform(0, np.pi / 2)
        along = rows * np.cos(tilt) + columns * np.sin(tilt)
        across = columns * np.cos(tilt) - rows * np.sin(tilt)
        street = (np.mod(along, 7) < 1.6) | (np.mod(across, 9) < 1.6)
        houses = random.uniform(0.35, 1, (self.size, self.size))
        return np.where(street, 0.05, houses).astype(np.float32)

    def _scene_classification(
        self, ground: FloatArray, opacity: FloatArray, shadow: FloatArray
    ) -> ByteArray:
        red, near_infrared = ground[3], ground[7]
        index = (near_infrared - red) / (near_infrared + red)
        classes = np.where(index > 0.4, 4, 5).astype(np.uint8)
        classes[(index <= 0.4) & (near_infrared < 1300)] = 2
        classes[self.land_cover == RIVER] = 6
        classes[shadow > 0.3] = 3
        classes[opacity > 0.08] = 10
        classes[opacity > 0.35] = 8
        classes[opacity > 0.75] = 9
        return classes


def value_noise(random: np.random.Generator, size: int, cell: int) -> FloatArray:
    """Value noise (size, size) in 0..1 that varies over `cell` pixels."""
    count = size // cell + 2
    lattice = random.random((count, count))
    position = np.arange(size) / cell
    low = position.astype(np.int64)
    part = position - low
    weight = part * part * (3 - 2 * part)
    rows = lattice[low] * (1 - weight[:, None]) + lattice[low + 1] * weight[:, None]
    values = rows[:, low] * (1 - weight) + rows[:, low + 1] * weight
    return values.astype(np.float32)


def fractal_noise(random: np.random.Generator, size: int, cell: int) -> FloatArray:
    """Fractal noise (size, size) in 0..1 with structure from `cell` pixels down to a few."""
    total, weight, sum_of_weights = np.zeros((size, size)), 1.0, 0.0
    while cell >= 3:
        total += weight * value_noise(random, size, cell)
        sum_of_weights += weight
        weight, cell = weight / 2, cell // 2
    return (total / sum_of_weights).astype(np.float32)


def cloud_percentage(classes: ByteArray) -> float:
    """Percentage of cloud and cirrus pixels in a scene classification."""
    return round(100 * float(np.isin(classes, (8, 9, 10)).mean()), 2)


def to_top_of_atmosphere(digital_numbers: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Top-of-atmosphere digital numbers (12, H, W) from surface digital numbers."""
    reflectance = digital_numbers * _spectrum_column(TRANSMITTANCE) + _spectrum_column(HAZE)
    return (np.round(reflectance / REFLECTANCE_STEP) * REFLECTANCE_STEP).astype(np.uint16)


def true_color(digital_numbers: NDArray[np.uint16]) -> ByteArray:
    """True-color image (3, H, W) from digital numbers (12, H, W)."""
    rgb = digital_numbers[[3, 2, 1]].astype(np.float32)
    return np.clip(np.round(rgb * (255 / 3000)), 1, 255).astype(np.uint8)


def _cloud_opacity(random: np.random.Generator, size: int, cloud_fraction: float) -> FloatArray:
    """Opacity 0..1 of a cloud field that covers about `cloud_fraction` of the pixels."""
    field = fractal_noise(random, size, 80)
    if cloud_fraction <= 0:
        return np.zeros_like(field)
    threshold = np.sort(field, axis=None)[int((1 - cloud_fraction) * (field.size - 1))]
    return np.asarray(
        np.clip((field - threshold) * 14 + 0.1, 0, 1) * (field > threshold), np.float32
    )


def _shift(field: FloatArray, rows: int, columns: int) -> FloatArray:
    """A field shifted down and to the left, with zeros moving in."""
    shifted = np.zeros_like(field)
    shifted[rows:, :-columns] = field[:-rows, columns:]
    return shifted


def _mix_spectra(fractions: dict[tuple[int, ...], FloatArray]) -> FloatArray:
    mixed = sum(
        _spectrum_column(spectrum) * fraction[None] for spectrum, fraction in fractions.items()
    )
    return np.asarray(mixed, np.float32)


def _spectrum_column(spectrum: tuple[float, ...]) -> FloatArray:
    return np.asarray(spectrum, np.float32)[:, None, None]


def _coordinates(size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    axis = np.arange(size, dtype=np.float64)
    return axis[:, None] * np.ones((1, size)), axis[None] * np.ones((size, 1))
