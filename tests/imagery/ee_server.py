"""A stand-in for Earth Engine: real HTTP, the client's own discovery, an invented world.

It understands the functions that `imagery.earth_engine.source` uses, and refuses all others.
"""

from __future__ import annotations

import importlib.util
import io
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer

from geobento.schemas.sample import PixelGrid
from tests.imagery.world import WorldScene

MOST_BYTES = 50_331_648


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one answer.

    Attributes:
        status: HTTP status of an error.
        message: Its text.
        headers: Its headers.
        delay_s: Wait before the answer.
        truncated: Send half of the answer that is due, and close the connection.
        damaged: Send half of the answer as if it were the whole.
    """

    status: int = 200
    message: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    truncated: bool = False
    damaged: bool = False


@dataclass
class Asked:
    """A request that arrived: when, which call, its body and headers, and what went wrong."""

    begun: float
    call: str
    body: dict[str, Any]
    headers: dict[str, str]
    fault: Fault
    sent: int = 0


class Refusal(Exception):
    """An error that Earth Engine answers with 400."""


@dataclass
class Standin:
    """The server's state.

    Attributes:
        scenes: What there is.
        faults: What goes wrong next; None: nothing. Taken from the beginning.
        fault: Asked for every request once `faults` is empty.
        asked: All requests but those of the client's start.
        most_pixels: Larger grids exceed the "user memory limit".
        most_in_flight: Largest number of requests at a time so far.
    """

    scenes: list[WorldScene]
    faults: list[Fault | None] = field(default_factory=list)
    fault: Callable[[], Fault | None] = lambda: None
    asked: list[Asked] = field(default_factory=list)
    most_pixels: int | None = None
    most_in_flight: int = 0
    in_flight: int = 0
    url: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def calls(self, name: str) -> list[Asked]:
        """Requests of one kind: ``compute`` or ``computePixels``."""
        return [request for request in self.asked if request.call == name]

    def next_fault(self) -> Fault | None:
        """What goes wrong with this request."""
        with self.lock:
            return self.faults.pop(0) if self.faults else self.fault()


@contextmanager
def earth_engine(scenes: list[WorldScene]) -> Iterator[Standin]:
    """Serve a world; yields the state of the server."""
    state = Standin(scenes)

    class Bound(_Handler):
        standin = state

    server = ThreadingHTTPServer(("127.0.0.1", 0), Bound)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    standin: Standin
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Discovery and the list of functions."""
        name = (
            "cloud_api_discovery_document" if self.path.startswith("/$discovery") else "algorithms"
        )
        if name == "algorithms" and "/algorithms" not in self.path:
            return self._send(404, _error(404, "no such resource"))
        return self._send(200, _shipped(name))

    def do_POST(self) -> None:
        """The two calls that compute."""
        standin = self.standin
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        call = self.path.split("?")[0].rsplit(":", 1)[-1]
        fault = standin.next_fault() or Fault()
        named = {name.lower(): value for name, value in self.headers.items()}
        request = Asked(time.monotonic(), call, body, named, fault)
        with standin.lock:
            standin.in_flight += 1
            standin.most_in_flight = max(standin.most_in_flight, standin.in_flight)
            standin.asked.append(request)
        try:
            status, content, headers = self._answer(call, body, fault)
            request.sent = len(content)
        finally:  # before the answer is sent: whoever has it may ask again at once
            with standin.lock:
                standin.in_flight -= 1
        self._send(status, content, headers, truncated=fault.truncated)

    def _answer(
        self, call: str, body: dict[str, Any], fault: Fault
    ) -> tuple[int, bytes, dict[str, str]]:
        time.sleep(fault.delay_s)
        if fault.status != 200:
            return fault.status, _error(fault.status, fault.message), fault.headers
        try:
            content = _computed(self.standin, call, body)
        except Refusal as refusal:
            return 400, _error(400, str(refusal)), {}
        if fault.damaged:
            content = content[: len(content) // 2]
        return 200, content, {}

    def _send(
        self,
        status: int,
        content: bytes,
        headers: dict[str, str] | None = None,
        *,
        truncated: bool = False,
    ) -> None:
        try:
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if truncated else content)
            if truncated:
                self.wfile.flush()
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True
        except OSError:
            self.close_connection = True


def _error(status: int, message: str) -> bytes:
    return json.dumps({"error": {"code": status, "message": message}}).encode()


@cache
def _shipped(name: str) -> bytes:
    """A document that lies beside the client's own tests."""
    spec = importlib.util.find_spec("ee")
    assert spec is not None
    assert spec.submodule_search_locations
    folder = Path(spec.submodule_search_locations[0]) / "tests"
    return (folder / f"{name}.json").read_bytes()


def _computed(standin: Standin, call: str, body: dict[str, Any]) -> bytes:
    if call == "compute":
        grid = _sampled_grid(standin.scenes, body["expression"])
        value = Evaluator(standin.scenes, body["expression"], grid).result()
        return json.dumps({"result": value}, separators=(",", ":")).encode()
    assert call == "computePixels"
    assert body["fileFormat"] == "NPY"
    grid = _grid(body["grid"])
    if standin.most_pixels is not None and grid.height * grid.width > standin.most_pixels:
        raise Refusal("User memory limit exceeded.")
    image = Evaluator(standin.scenes, body["expression"], grid).result()
    kinds = [(name, band.values.dtype) for name, band in image.items()]
    size = grid.height * grid.width * sum(dtype.itemsize + 1 for _, dtype in kinds)
    if size > MOST_BYTES:
        raise Refusal(
            f"Total request size ({size} bytes) must be less than or equal to {MOST_BYTES} bytes."
        )
    pixels = np.zeros(grid.shape, kinds)
    for name, band in image.items():
        pixels[name] = np.where(band.mask, band.values, 0)
    buffer = io.BytesIO()
    np.save(buffer, pixels)
    return buffer.getvalue()


def _grid(given: dict[str, Any]) -> PixelGrid:
    size, affine = given["dimensions"], given["affineTransform"]
    names = ("scaleX", "shearX", "translateX", "shearY", "scaleY", "translateY")
    a, b, c, d, e, f = (float(affine.get(name, 0)) for name in names)
    return PixelGrid(given["crsCode"], (a, b, c, d, e, f), size["height"], size["width"])


def _sampled_grid(scenes: list[WorldScene], expression: dict[str, Any]) -> PixelGrid | None:
    """The pixels of 10 m in the region that an expression samples, if it does."""
    values = expression["values"]
    node = values[expression["result"]].get("functionInvocationValue", {})
    if node.get("functionName") != "Image.sampleRectangle":
        return None
    region = node["arguments"]["region"]
    crs, (west, south, east, north) = Evaluator(scenes, expression, None).value(region)
    height, width = round((north - south) / 10), round((east - west) / 10)
    return PixelGrid(crs, (10.0, 0.0, west, 0.0, -10.0, north), height, width)


@dataclass(frozen=True)
class Band:
    """Numbers and where they are data; with the scene that they are straight from, if so."""

    values: NDArray[Any]
    mask: NDArray[np.bool_]
    origin: tuple[WorldScene, str] | None = None


Image = dict[str, Band]


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
        return _Lazy(lambda name: self._sampled(scene, name, "nearest"), scene.index)

    def link_collection(
        self, input: Image, imageCollection: list[WorldScene], linkedBands: list[str]
    ) -> Image:
        """Bands of the image of the same index; masked throughout where there is none."""
        assert isinstance(input, _Lazy)
        result = [scene for scene in imageCollection if scene.index == input.index]

        def read(name: str) -> Band:
            if name not in linkedBands:
                return input[name]
            if result:
                return self._sampled(result[0], name, "nearest")
            assert self._grid is not None
            return Band(np.zeros(self._grid.shape), np.zeros(self._grid.shape, bool))

        return _Lazy(read, input.index)

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
        masks = _matched(mask, image)
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

            return _Lazy(read, "")
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
        if isinstance(dstImg, _Lazy):
            read = dstImg.__missing__
            return _Lazy(lambda name: srcImg[name] if name in srcImg else read(name), dstImg.index)
        return {**dstImg, **srcImg}

    def slope(self, input: Image) -> Image:
        """Degrees, of a scene's heights on its own pixels."""
        (band,) = input.values()
        assert band.origin is not None
        return {"slope": self._sampled(_Slope(*band.origin), "slope", "nearest")}

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
        values = _matched(value, input)
        return {
            name: Band(
                np.where(band.mask, band.values, values[name].values).astype(band.values.dtype),
                np.ones_like(band.mask),
            )
            for name, band in input.items()
        }

    def calculate(self, operation: Callable[[Any, Any], Any]) -> Callable[[Image, Image], Image]:
        def calculated(image1: Image, image2: Image) -> Image:
            others = _matched(image2, image1)
            return {
                name: Band(
                    np.asarray(operation(band.values, others[name].values), np.float64),
                    band.mask & others[name].mask,
                )
                for name, band in image1.items()
            }

        return calculated

    def _sampled(self, scene: WorldScene | _Slope, name: str, mode: str) -> Band:
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
            values = _bilinear(band, columns - 0.5, rows - 0.5)
        else:
            values = band[_index(rows, height), _index(columns, width)]
        has_data = data[_index(rows, height), _index(columns, width)]
        return Band(values, inside & has_data, None if isinstance(scene, _Slope) else (scene, name))


@dataclass(frozen=True)
class _Slope:
    """The slope of a scene's heights, like a scene."""

    scene: WorldScene
    heights: str

    @property
    def grid(self) -> PixelGrid:
        return self.scene.grid

    def has_data(self) -> NDArray[np.bool_]:
        return self.scene.has_data()

    def band(self, name: str) -> NDArray[np.float64]:
        down, across = np.gradient(self.scene.band(self.heights), *self.grid.resolution[::-1])
        return np.asarray(np.degrees(np.arctan(np.hypot(down, across))))


class _Lazy(dict[str, Band]):
    """The bands of a scene, read when asked for."""

    def __init__(self, read: Callable[[str], Band], index: str) -> None:
        super().__init__()
        self._read = read
        self.index = index

    def __missing__(self, name: str) -> Band:
        return self._read(name)


def _index(positions: NDArray[Any], size: int) -> NDArray[np.int64]:
    return np.asarray(np.clip(np.floor(positions), 0, size - 1), np.int64)


def _bilinear(band: NDArray[Any], columns: NDArray[Any], rows: NDArray[Any]) -> NDArray[Any]:
    height, width = band.shape
    right, down = columns - np.floor(columns), rows - np.floor(rows)
    corners = [
        band[_index(rows + row, height), _index(columns + column, width)]
        * (down if row else 1 - down)
        * (right if column else 1 - right)
        for row in (0, 1)
        for column in (0, 1)
    ]
    return np.asarray(sum(corners))


def _matched(image: Image, to: Image) -> Image:
    """An image's bands under the names of another's: one for all, or one for each."""
    bands = list(image.values())
    return dict(zip(to, bands * len(to) if len(bands) == 1 else bands, strict=True))


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
