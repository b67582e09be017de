"""Evaluation of Earth Engine expressions on the worlds of tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from pyproj import Transformer

from geobento.schemas.sample import PixelGrid
from tests.imagery.ee_bands import (
    Band,
    Image,
    LazyImage,
    Refusal,
    SlopeScene,
    bilinear,
    matched,
    nearest_index,
)
from tests.imagery.world import WorldScene


class Evaluator:
    """Computes one expression, images on one grid."""

    def __init__(
        self, scenes: list[WorldScene], expression: dict[str, Any], grid: PixelGrid | None
    ) -> None:
        self._scenes = scenes
        self._nodes = expression["values"]
        self._root = expression["result"]
        self._grid = grid
        self._known: dict[str, Any] = {}

    def result(self) -> Any:
        """The value of the expression."""
        return self._reference(self._root)

    def _reference(self, name: str) -> Any:
        if name not in self._known:
            self._known[name] = self.value(self._nodes[name])
        return self._known[name]

    def value(self, node: dict[str, Any]) -> Any:
        """The value of a node of the expression."""
        ((kind, content),) = node.items()
        if kind == "constantValue":
            return content
        if kind == "integerValue":
            return int(content)
        if kind == "valueReference":
            return self._reference(content)
        if kind == "arrayValue":
            return [self.value(part) for part in content["values"]]
        if kind == "dictionaryValue":
            return {key: self.value(part) for key, part in content["values"].items()}
        if kind == "functionInvocationValue":
            function = FUNCTIONS.get(content["functionName"])
            if function is None:
                raise Refusal(f"the stand-in does not know {content['functionName']}")
            given = content.get("arguments", {})
            return function(self, **{k: self.value(part) for k, part in given.items()})
        raise Refusal(f"the stand-in does not know {kind}")

    # -- collections ---------------------------------------------------------------------------

    def load_collection(self, id: str) -> list[WorldScene]:
        return [scene for scene in self._scenes if scene.collection == id]

    def filter(
        self, collection: list[WorldScene], filter: Callable[[WorldScene], bool]
    ) -> list[WorldScene]:
        return [scene for scene in collection if filter(scene)]

    def date_range(self, start: float, end: float) -> tuple[float, float]:
        return start, end

    def in_range(
        self, leftValue: tuple[float, float], rightField: str
    ) -> Callable[[WorldScene], bool]:
        start, end = leftValue
        return lambda scene: start <= scene.described()[rightField] < end

    def less_than(self, leftField: str, rightValue: float) -> Callable[[WorldScene], bool]:
        return lambda scene: scene.described().get(leftField, np.inf) < rightValue

    def rectangle(
        self, coordinates: list[float], crs: str, geodesic: bool, evenOdd: bool = True
    ) -> tuple[str, list[float]]:
        assert not geodesic
        return crs, coordinates

    def projection(self, crs: str) -> str:
        return crs

    def feature(self, geometry: tuple[str, list[float]], metadata: Any = None) -> Any:
        return geometry

    def intersects(
        self, leftField: str, rightValue: tuple[str, list[float]]
    ) -> Callable[[WorldScene], bool]:
        assert leftField == ".all"
        crs, (west, south, east, north) = rightValue

        def meets(scene: WorldScene) -> bool:
            to_wanted = Transformer.from_crs(scene.grid.crs, crs, always_xy=True)
            left, bottom, right, top = to_wanted.transform_bounds(*scene.grid.bounds)
            return bool(left < east and west < right and bottom < north and south < top)

        return meets

    def to_list(self, tupleSize: int, numOptional: int) -> tuple[int, int]:
        return tupleSize, numOptional

    def reduce_columns(
        self, collection: list[WorldScene], reducer: tuple[int, int], selectors: list[str]
    ) -> dict[str, Any]:
        size, optional = reducer
        assert size == len(selectors)
        rows = [[scene.described().get(name) for name in selectors] for scene in collection]
        needed = size - optional
        return {"list": [row for row in rows if None not in row[:needed]]}

    # -- images --------------------------------------------------------------------------------

    def load_image(self, id: str) -> Image:
        scene = next((s for s in self._scenes if s.asset == id), None)
        if scene is None:
            raise Refusal(
                f"Image.load: Image asset '{id}' not found (does not exist or caller does not "
                "have access)."
            )
        return LazyImage(lambda name: self._sampled(scene, name, "nearest"), scene.index)

    def link_collection(
        self, input: Image, imageCollection: list[WorldScene], linkedBands: list[str]
    ) -> Image:
        """Bands of the image of the same index; masked throughout where there is none."""
        assert isinstance(input, LazyImage)
        result = [scene for scene in imageCollection if scene.index == input.index]

        def read(name: str) -> Band:
            if name not in linkedBands:
                return input[name]
            if result:
                return self._sampled(result[0], name, "nearest")
            assert self._grid is not None
            return Band(np.zeros(self._grid.shape), np.zeros(self._grid.shape, bool))

        return LazyImage(read, input.index)

    def select(self, input: Image, bandSelectors: list[str]) -> Image:
        try:
            return {name: input[name] for name in bandSelectors}
        except KeyError as error:
            raise Refusal(
                f"Image.select: Band pattern {error} did not match any bands. Available bands: []"
            ) from None

    def resample(self, image: Image, mode: str) -> Image:
        assert mode == "bilinear"
        resampled = {}
        for name, band in image.items():
            assert band.origin is not None, "resample has no effect on anything but a scene"
            resampled[name] = self._sampled(*band.origin, mode)
        return resampled

    def constant(self, value: float) -> Image:
        assert self._grid is not None
        return {"constant": Band(np.full(self._grid.shape, value), np.ones(self._grid.shape, bool))}

    def update_mask(self, image: Image, mask: Image) -> Image:
        masks = matched(mask, image)
        return {
            name: Band(band.values, band.mask & masks[name].mask & (masks[name].values != 0))
            for name, band in image.items()
        }

    def remap(
        self, image: Image, to: list[float], defaultValue: float, **others: list[float]
    ) -> Image:
        (band,) = image.values()
        values = np.full(band.values.shape, defaultValue, np.float64)
        for before, after in zip(others["from"], to, strict=True):
            values[band.values == before] = after
        return {"remapped": Band(values, band.mask)}

    def from_images(self, images: list[Image]) -> list[Image]:
        return images

    def mosaic(self, collection: list[Image]) -> Image:
        result = dict(collection[0])
        for image in collection[1:]:
            for name, band in image.items():
                below = result[name]
                result[name] = Band(
                    np.where(band.mask, band.values, below.values), band.mask | below.mask
                )
        return result

    def median(self, collection: list[Image] | list[WorldScene]) -> Image:
        if isinstance(collection[0], WorldScene):
            several: Any = collection

            def read(name: str) -> Band:
                return self.median([{name: self._sampled(s, name, "nearest")} for s in several])[
                    name
                ]

            return LazyImage(read, "")
        return self._median(collection)

    def sample_rectangle(
        self, image: Image, region: Any, defaultValue: float
    ) -> dict[str, dict[str, Any]]:
        """Rows of every band, numbers without a fraction as such."""
        rows = {
            name: [
                [int(value) if value == int(value) else value for value in row]
                for row in np.where(band.mask, band.values, defaultValue).tolist()
            ]
            for name, band in image.items()
        }
        return {"properties": rows}

    def _median(self, collection: list[Image]) -> Image:
        result = {}
        for name in collection[0]:
            mask = np.stack([image[name].mask for image in collection])
            values = np.stack([image[name].values for image in collection])
            ordered = np.sort(np.where(mask, values, np.inf), axis=0)
            count = mask.sum(axis=0)
            lower, upper = np.maximum(count - 1, 0) // 2, np.minimum(count // 2, len(mask) - 1)
            pair = np.take_along_axis(ordered, np.stack([lower, upper]), axis=0)
            result[name] = Band(np.where(count, pair, 0).mean(axis=0), count > 0)
        return result

    def rename(self, input: Image, names: list[str]) -> Image:
        return dict(zip(names, input.values(), strict=True))

    def add_bands(self, dstImg: Image, srcImg: Image) -> Image:
        assert not dstImg.keys() & srcImg.keys()
        if isinstance(dstImg, LazyImage):
            read = dstImg.__missing__
            return LazyImage(
                lambda name: srcImg[name] if name in srcImg else read(name), dstImg.index
            )
        return {**dstImg, **srcImg}

    def slope(self, input: Image) -> Image:
        """Degrees, of a scene's heights on its own pixels."""
        (band,) = input.values()
        assert band.origin is not None
        return {"slope": self._sampled(SlopeScene(*band.origin), "slope", "nearest")}

    def mean(self, collection: list[Image]) -> Image:
        result = {}
        for name in collection[0]:
            mask = np.stack([image[name].mask for image in collection])
            values = np.stack([image[name].values for image in collection])
            count = mask.sum(axis=0)
            total = np.where(mask, values, 0).sum(axis=0, dtype=np.float64)
            result[name] = Band(total / np.maximum(count, 1), count > 0)
        return result

    def to_float(self, value: Image) -> Image:
        return {
            name: replace(band, values=band.values.astype(np.float32))
            for name, band in value.items()
        }

    def to_uint16(self, value: Image) -> Image:
        return {
            name: replace(band, values=np.clip(band.values, 0, 65_535).astype(np.uint16))
            for name, band in value.items()
        }

    def clamp(self, input: Image, low: float, high: float) -> Image:
        return {
            name: replace(band, values=np.clip(band.values, low, high))
            for name, band in input.items()
        }

    def unmask(self, input: Image, value: Image, sameFootprint: bool) -> Image:
        assert not sameFootprint
        values = matched(value, input)
        return {
            name: Band(
                np.where(band.mask, band.values, values[name].values).astype(band.values.dtype),
                np.ones_like(band.mask),
            )
            for name, band in input.items()
        }

    def calculate(self, operation: Callable[[Any, Any], Any]) -> Callable[[Image, Image], Image]:
        def calculated(image1: Image, image2: Image) -> Image:
            others = matched(image2, image1)
            return {
                name: Band(
                    np.asarray(operation(band.values, others[name].values), np.float64),
                    band.mask & others[name].mask,
                )
                for name, band in image1.items()
            }

        return calculated

    def _sampled(self, scene: WorldScene | SlopeScene, name: str, mode: str) -> Band:
        """A band of a scene at the centres of the wanted pixels."""
        expected = self._grid
        assert expected is not None
        a, _, left, _, e, top = expected.transform
        x, y = np.meshgrid(
            left + a * (np.arange(expected.width) + 0.5),
            top + e * (np.arange(expected.height) + 0.5),
        )
        if scene.grid.crs != expected.crs:
            to_scene = Transformer.from_crs(expected.crs, scene.grid.crs, always_xy=True)
            x, y = to_scene.transform(x, y)
        a, _, left, _, e, top = scene.grid.transform
        columns, rows = (x - left) / a, (y - top) / e
        height, width = scene.grid.shape
        inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
        band, data = scene.band(name), scene.has_data()
        if mode == "bilinear":
            values = bilinear(band, columns - 0.5, rows - 0.5)
        else:
            values = band[nearest_index(rows, height), nearest_index(columns, width)]
        has_data = data[nearest_index(rows, height), nearest_index(columns, width)]
        return Band(
            values, inside & has_data, None if isinstance(scene, SlopeScene) else (scene, name)
        )


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "ImageCollection.load": Evaluator.load_collection,
    "Collection.filter": Evaluator.filter,
    "Collection.size": lambda self, collection: len(collection),
    "Filter.lessThan": Evaluator.less_than,
    "Image.reproject": lambda self, image, crs, scale: image,
    "Image.sampleRectangle": Evaluator.sample_rectangle,
    "DateRange": Evaluator.date_range,
    "Filter.dateRangeContains": Evaluator.in_range,
    "GeometryConstructors.Rectangle": Evaluator.rectangle,
    "Projection": Evaluator.projection,
    "Feature": Evaluator.feature,
    "Filter.intersects": Evaluator.intersects,
    "Reducer.toList": Evaluator.to_list,
    "Collection.reduceColumns": Evaluator.reduce_columns,
    "Image.load": Evaluator.load_image,
    "Image.select": Evaluator.select,
    "Image.linkCollection": Evaluator.link_collection,
    "Image.resample": Evaluator.resample,
    "Image.constant": Evaluator.constant,
    "Image.updateMask": Evaluator.update_mask,
    "Image.remap": Evaluator.remap,
    "Image.gt": lambda self, **given: self.calculate(np.greater)(**given),
    "Image.gte": lambda self, **given: self.calculate(np.greater_equal)(**given),
    "Image.eq": lambda self, **given: self.calculate(np.equal)(**given),
    "Image.bitwiseAnd": lambda self, **given: self.calculate(
        lambda one, other: one.astype(np.int64) & other.astype(np.int64)
    )(**given),
    "ImageCollection.fromImages": Evaluator.from_images,
    "ImageCollection.mosaic": Evaluator.mosaic,
    "reduce.median": Evaluator.median,
    "reduce.mean": Evaluator.mean,
    "Terrain.slope": Evaluator.slope,
    "Image.rename": Evaluator.rename,
    "Image.addBands": Evaluator.add_bands,
    "Image.toFloat": Evaluator.to_float,
    "Image.toUint16": Evaluator.to_uint16,
    "Image.clamp": Evaluator.clamp,
    "Image.add": lambda self, **given: self.calculate(np.add)(**given),
    "Image.multiply": lambda self, **given: self.calculate(np.multiply)(**given),
    "Image.unmask": Evaluator.unmask,
}
