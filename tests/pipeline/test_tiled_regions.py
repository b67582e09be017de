"""Regions in tiles and in polygons, through both halves, with a model that averages pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from pyproj import Transformer

from geobento.config.settings import Settings
from geobento.schemas.embedding import Embedding
from geobento.schemas.errors import GeoBentoError, ModelError, SpecError
from geobento.schemas.requests import GeoEmbeddingRequest
from geobento.schemas.sample import Provenance, Sample
from geobento.schemas.specs import (
    BBox,
    InputPrepSpec,
    MultiPolygon,
    OutputSpec,
    Polygon,
    Region,
    TemporalSpec,
)
from imagery.query import ImageQuery
from imagery.source import FetchEstimate
from inference.engines.torch import TorchModel
from models.base import Model
from models.mosaiks.model import Mosaiks
from models.types import Config, Encoded, Inputs, Tensors
from models.weights.stored_model import StoredModel
from pipeline.engine import Engine
from pipeline.fetching.fetcher import ImageryFetcher
from pipeline.model_registry import ModelHandle, ModelRegistry

CARD = Mosaiks.card

CRS = "EPSG:32632"
LEFT, BOTTOM = 500_000, 5_000_000
BACK = Transformer.from_crs(CRS, 4326, always_xy=True)
CELL = 8


class Averages(Model):
    """The mean of every 8 x 8 pixels; the native pooling is the sum of all."""

    card = CARD.model_copy(
        update={"modalities": {"s2": CARD.modalities["s2"].model_copy(update={"size": 32})}}
    )
    dim = 12

    def prepare(self, sample: Sample) -> Inputs:
        assert sample.grid is not None
        assert sample.grid.shape == sample.pixels.shape[1:]
        return {"s2": sample.pixels.astype(np.float32)}

    def modalities(self) -> tuple[str, ...]:
        return ("s2",)

    def network(self) -> torch.nn.Module:
        return torch.nn.AvgPool2d(CELL)

    def encode(self, network: torch.nn.Module, batch: Mapping[str, torch.Tensor]) -> Encoded:
        cells = network(batch["s2"])
        return Encoded(cells.flatten(2).transpose(1, 2), (cells.shape[2], cells.shape[3]))

    @classmethod
    def default_config(cls, variant: str) -> Config:
        return {}

    @classmethod
    def seeded_state_dict(cls, config: Config) -> Tensors:
        return {}

    @classmethod
    def convert(
        cls, checkpoint: Tensors, checkpoint_config: Mapping[str, Any], variant: str
    ) -> tuple[Config, Tensors]:
        return {}, {}


class Landscape:
    """A source whose pixels hold where they lie: metres to the east, to the north, and noise."""

    backend = "demo"

    def fetch(self, query: ImageQuery) -> Sample:
        a, _, left, _, e, top = query.grid.transform
        height, width = query.grid.shape
        east = left - LEFT + a * (np.arange(width) + 0.5)
        north = top - BOTTOM + e * (np.arange(height) + 0.5)
        pixels = np.random.default_rng(0).uniform(0, 1, (12, height, width))
        pixels[0], pixels[1] = east[None, :], north[:, None]
        return Sample(
            pixels.astype(np.float32),
            query.sensor.bands,
            query.modality,
            valid=np.ones((height, width), bool),
            grid=query.grid,
            provenance=Provenance("demo", "landscape"),
        )

    def estimate(self, query: ImageQuery) -> FetchEstimate:
        raise NotImplementedError


Run = Callable[..., Embedding]


@pytest.fixture
def run(mosaiks_stored: StoredModel) -> Run:
    """Runs a request for a region through both halves."""

    def go(region: Region, card: Any = Averages.card, **fields: Any) -> Embedding:
        model = Averages({})
        served = mosaiks_stored.to_served_model().model_copy(update={"card": card})
        layer = ImageryFetcher({"demo": Landscape}, max_threads=1)
        engine = Engine(ModelRegistry([ModelHandle(model, served, "cpu")]), Settings(), layer)
        request = GeoEmbeddingRequest.model_validate(
            {
                "model": "mosaiks",
                "spatial": region,
                "temporal": TemporalSpec.year(2023),
                "input_prep": "resize",
                **fields,
            }
        )
        job = engine.prepare_regions(request)
        (result,) = job.assemble(TorchModel(model, model.network()).run(job.items))
        assert isinstance(result, Embedding)
        return result

    return go


def box(width: int, height: int) -> BBox:
    """A box of this many pixels of 10 metres."""
    return BBox(LEFT, BOTTOM, LEFT + 10 * width, BOTTOM + 10 * height, CRS)


@pytest.mark.parametrize(
    "output", [OutputSpec.grid(), OutputSpec.pooled(), OutputSpec.pooled("max")]
)
@pytest.mark.parametrize("prep", ["tile", "auto", InputPrepSpec("tile", 32, 16)])
def test_tiled_and_whole_agree(run: Run, output: Any, prep: Any) -> None:
    """Where the cells coincide, a region in tiles gives what the region at once gives."""
    whole, tiled = (run(box(112, 64), input_prep=how, output=output) for how in ("resize", prep))
    np.testing.assert_allclose(tiled.data, whole.data, rtol=1e-6)
    assert tiled.meta.grid == whole.meta.grid
    assert whole.meta.tiles is None
    assert tiled.meta.tiles is not None
    assert tiled.meta.tiles.size == 32


def test_a_tiled_grid_is_where_it_says(run: Run) -> None:
    """Every cell holds the position of its own centre to half a cell, whatever the size."""
    result = run(box(75, 100), input_prep="tile", output=OutputSpec.grid())
    assert result.meta.tiles is not None
    assert (result.meta.tiles.rows, result.meta.tiles.columns) == ([0, 32, 64, 68], [0, 32, 43])
    array = result.to_xarray()
    x, y = array.x.values - LEFT, array.y.values - BOTTOM
    assert result.data.shape[1:] == (12, 9)
    assert np.abs(array.values[0] - x[None, :]).max() <= CELL * 10 / 2 + 0.1
    assert np.abs(array.values[1] - y[:, None]).max() <= CELL * 10 / 2 + 0.1


def test_a_small_region_is_padded(run: Run) -> None:
    """Only what lies in the region is answered, and it is what the region holds."""
    result = run(box(16, 24), input_prep="tile", output=OutputSpec.grid())
    whole = run(box(16, 24), output=OutputSpec.grid())
    np.testing.assert_array_equal(result.data, whole.data)
    assert result.meta.grid == whole.meta.grid


def test_models_that_give_one_vector(run: Run) -> None:
    """Vectors of tiles are averaged by the area that belongs to each."""
    vectors = Averages.card.model_copy(update={"outputs": ("pooled",)})
    result = run(box(48, 32), vectors, input_prep="tile")
    assert result.data.shape == (12,)
    # Tiles at 0 and 16 pixels own 24 each: the mean of 160 and 320 metres.
    assert result.data[0] == pytest.approx(240)


def ring(*corners: tuple[float, float]) -> tuple[tuple[float, float], ...]:
    """A closed ring with corners in metres from the south-western corner."""
    points = [BACK.transform(LEFT + x, BOTTOM + y) for x, y in (*corners, corners[0])]
    return tuple((lon, lat) for lon, lat in points)


TRIANGLE = ring((5, 5), (955, 5), (5, 955))
SQUARE = ring((5, 5), (955, 5), (955, 955), (5, 955))
HOLE = ring((10, 10), (480, 10), (480, 950), (10, 950))


@pytest.mark.parametrize("prep", ["resize", "tile"])
def test_a_polygon_counts_what_lies_inside(run: Run, prep: str) -> None:
    """The mean position of a triangle is its centroid, and not the middle of its box."""
    result = run(Polygon((TRIANGLE,)), input_prep=prep)
    assert result.data[:2] == pytest.approx([5 + 950 / 3] * 2, abs=12)
    assert result.meta.pooling == "native"


def test_a_polygon_with_a_hole_and_two_parts(run: Run) -> None:
    """Holes do not count; parts count together."""
    assert run(Polygon((SQUARE,))).data[0] == pytest.approx(480, abs=2)
    assert run(Polygon((SQUARE, HOLE))).data[0] == pytest.approx(715, abs=20)
    beside = ring((1000, 5), (1275, 5), (1275, 280), (1000, 280))
    both = run(MultiPolygon(((TRIANGLE,), (beside,))))
    areas = 950**2 / 2, 275**2
    middles = 5 + 950 / 3, 1137.5
    expected = np.average(middles, weights=areas)
    assert both.data[0] == pytest.approx(expected, abs=12)


def test_the_largest_inside_a_polygon(run: Run) -> None:
    """Cells outside do not take part in the maximum either."""
    largest = OutputSpec.pooled("max")
    upper = ring((10, 500), (480, 500), (480, 950), (10, 950))
    lower_right = ring((5, 5), (955, 5), (955, 10), (5, 10))
    result = run(MultiPolygon(((upper,), (lower_right,))), output=largest)
    assert result.data[0] == pytest.approx(920, abs=2)
    assert result.data[1] == pytest.approx(920, abs=12)
    assert run(MultiPolygon(((upper,),)), output=largest).data[0] < 490


def test_the_grid_of_a_polygon_is_that_of_its_box(run: Run) -> None:
    """A grid is answered whole: what to leave out is the reader's choice."""
    result = run(Polygon((TRIANGLE,)), output=OutputSpec.grid())
    assert np.isfinite(result.data).all()
    assert result.meta.grid is not None
    assert result.meta.grid.height * result.meta.grid.width == result.data[0].size


def test_models_with_one_vector_reject_polygons(run: Run) -> None:
    """A model with one vector for all that it sees is refused before anything is fetched."""
    vectors = Averages.card.model_copy(update={"outputs": ("pooled",)})
    with pytest.raises(ModelError, match=r"accepted: PointBuffer, BBox$") as caught:
        run(Polygon((TRIANGLE,)), vectors)
    assert caught.value.field == "spatial"


def test_native_pooling_stays_in_its_space(run: Run) -> None:
    """What is not a mean of cells is averaged over tiles, and never made of part of a region."""
    own = Averages.card.model_copy(update={"feature": "own"})
    with pytest.raises(ModelError, match=r"or output\.pooling 'mean' or 'max'"):
        run(Polygon((TRIANGLE,)), own)
    assert run(Polygon((TRIANGLE,)), own, output=OutputSpec.pooled("mean")).data.shape == (12,)
    # Tiles at 0 and 16 pixels own 24 each: the mean of 160 and 320 metres.
    assert run(box(48, 32), own, input_prep="tile").data[0] == pytest.approx(240)
    cells = run(box(48, 32), own, input_prep="tile", output=OutputSpec.pooled("mean"))
    assert cells.data[0] == pytest.approx(240)


@pytest.mark.parametrize(
    ("prep", "error", "field"),
    [
        (InputPrepSpec("tile", 32, 40), SpecError, "input_prep.tile_stride"),
        (InputPrepSpec("tile", max_tiles=2), SpecError, "input_prep.max_tiles"),
        (InputPrepSpec("tile", 100, pad_edges=False), SpecError, "input_prep.pad_edges"),
        (InputPrepSpec("tile", 5000), GeoBentoError, "input_prep"),
        (InputPrepSpec("tile", 64, 1, max_tiles=5000), GeoBentoError, "input_prep"),
    ],
)
def test_tilings_that_are_refused(
    run: Run, prep: InputPrepSpec, error: type[GeoBentoError], field: str
) -> None:
    """Gaps, too many tiles, too much overlap, padding that is not wanted."""
    with pytest.raises(error, match="accepted") as caught:
        run(box(96, 96), input_prep=prep)
    assert caught.value.field == field
