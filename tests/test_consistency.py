"""The same request gives the same vector, whichever way it takes and however it is cut."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeAlias

import httpx
import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

import geobento
from geobento.cli.app import main
from geobento.schemas import serialization
from geobento.schemas.embedding import Embedding
from geobento.schemas.grid import GridMeta
from geobento.schemas.specs import BBox, InputPrepSpec, OutputSpec, PointBuffer, TemporalSpec
from models.thor.model import Thor
from models.weights.stored_model import StoredModel
from tests.models import small
from tests.servers import serving

LON, LAT, BUFFER_M = 34.066, -3.401, 410
REGION = PointBuffer(LON, LAT, BUFFER_M)
OTHERS = PointBuffer(34.07, -3.40, 300), PointBuffer(34.06, -3.41, 250)
START, END = "2023-06-01", "2023-07-01"
JUNE = TemporalSpec.range(START, END)
SIDE, CELL, MARGIN = 82, 16, 1
"""Pixels of the region, of a cell of `mosaiks`, and of the margin: five cells and two margins."""
TILES = InputPrepSpec("tile", CELL + 2 * MARGIN, CELL)
"""Tiles of `mosaiks` that hold one cell of the whole each."""
FORMS: dict[str, dict[str, Any]] = {
    "whole": {},
    "max": {"output": OutputSpec.pooled("max")},
    "grid": {"output": OutputSpec.grid()},
    "tiled": {"input_prep": TILES},
    "tiled grid": {"input_prep": TILES, "output": OutputSpec.grid()},
}

Vectors: TypeAlias = NDArray[np.float32]


@pytest.fixture(scope="module")
def tags(mosaiks_stored: StoredModel, demo_archive: object) -> Iterator[str]:
    """`mosaiks` and a small transformer, which this process answers with."""
    pytest.importorskip("transformers")
    both = f"{mosaiks_stored.tag},{small.stored(Thor).tag}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GEOBENTO_MODELS", both)
        yield both


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, tags: str) -> Iterator[httpx.Client]:
    """The service with the same models."""
    log = tmp_path_factory.mktemp("same") / "log"
    with serving(log, GEOBENTO_MODELS=tags) as started:
        yield started


def single(model: str, form: dict[str, Any]) -> Vectors:
    """In Python, alone."""
    return geobento.get_embedding(model, spatial=REGION, temporal=JUNE, **form).data


def batch(model: str, form: dict[str, Any]) -> Vectors:
    """In Python, between others."""
    regions = [OTHERS[0], REGION, OTHERS[1]]
    result: list[Embedding] = geobento.get_embeddings_batch(
        model, spatials=regions, temporal=JUNE, **form
    )
    return result[1].data


def posted(client: httpx.Client, model: str, form: dict[str, Any], **fields: Any) -> Vectors:
    """Over HTTP, as anybody writes it; the middle one of the answers."""
    body = {"model": model, "temporal": {"mode": "range", "start": START, "end": END}, **fields}
    body |= {name: asdict(value) for name, value in form.items()}
    answer = client.post("/geo_embedding", json=body)
    assert answer.status_code == 200, answer.text
    entries = serialization.decode_embeddings(answer.content)
    entry = entries[len(entries) // 2]
    assert isinstance(entry, Embedding)
    return entry.data


def as_json(region: PointBuffer) -> dict[str, Any]:
    """A region as it goes over the wire."""
    return {"type": "PointBuffer", **asdict(region)}


def command(model: str, form: dict[str, Any], out: Path) -> Vectors:
    """On the command line, between others."""
    points = [f"--point={region.lon},{region.lat}" for region in (OTHERS[0], REGION, OTHERS[1])]
    options = ["--buffer", str(BUFFER_M), "--from", START, "--to", END, "--out", str(out)]
    if "input_prep" in form:
        prep = form["input_prep"]
        options += ["--input-prep", prep.mode, "--tile-size", str(prep.tile_size)]
        options += ["--tile-stride", str(prep.tile_stride)]
    if form.get("output") == OutputSpec.grid():
        options.append("--grid")
    done = CliRunner().invoke(main, ["embed", model, *points, *options])
    assert done.exit_code == 0, done.output
    with np.load(out) as written:
        result: Vectors = written["embeddings"][1]
    return result


def assert_same(actual: Vectors, expected: Vectors) -> None:
    """The same array in float32, to 1e-5 of its largest number."""
    assert actual.dtype == expected.dtype == np.float32
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("model", ["mosaiks", "thor"])
def test_every_way_gives_the_same(
    client: httpx.Client,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    model: str,
    form: str,
) -> None:
    """In Python, over HTTP in both encodings, on the command line; alone and among others."""
    request = FORMS[form]
    expected = single(model, request)
    assert np.isfinite(expected).all()
    assert np.ptp(expected) > 1e-3
    assert_same(batch(model, request), expected)
    here, others = as_json(REGION), [as_json(region) for region in OTHERS]
    assert_same(posted(client, model, request, spatial=here), expected)
    assert_same(posted(client, model, request, spatial=here, encoding="base64"), expected)
    several = [others[0], here, others[1]]
    assert_same(posted(client, model, request, spatials=several), expected)
    ways: list[Callable[[], Vectors]] = [
        lambda: single(model, request),
        lambda: batch(model, request),
    ]
    if form != "max":  # the command line has the default pooling
        assert_same(command(model, request, tmp_path / "here.npz"), expected)
        ways.append(lambda: command(model, request, tmp_path / "there.npz"))
    monkeypatch.setenv("GEOBENTO_URL", str(client.base_url))
    for way in ways:
        assert_same(way(), expected)


def box(pixels: GridMeta, rows: Sequence[int], columns: Sequence[int]) -> BBox:
    """The region that holds the pixels from one row and column to another."""
    a, _, left, _, e, top = pixels.transform
    x, y = ([start + step * at for at in ends] for start, step, ends in
            ((left, a, columns), (top, e, rows)))  # fmt: skip
    return BBox(x[0], y[1], x[1], y[0], pixels.crs)


@pytest.mark.usefixtures("tags")
def test_tiled_is_whole() -> None:
    """Where tiles hold cells of the whole, and a cell sees nothing beyond its margin."""
    for output in (OutputSpec.pooled(), OutputSpec.pooled("max"), OutputSpec.grid()):
        whole = geobento.get_embedding("mosaiks", spatial=REGION, temporal=JUNE, output=output)
        tiled = geobento.get_embedding(
            "mosaiks", spatial=REGION, temporal=JUNE, output=output, input_prep=TILES
        )
        assert tiled.meta.tiles is not None
        assert len(tiled.meta.tiles.rows) == len(tiled.meta.tiles.columns) == 5
        assert tiled.meta.grid == whole.meta.grid
        assert_same(tiled.data, whole.data)


@pytest.mark.usefixtures("tags")
def test_split_is_whole() -> None:
    """Parts that share the margins: their grids side by side, their vectors by area."""
    how: dict[str, Any] = {"temporal": JUNE}
    whole = geobento.get_embedding("mosaiks", spatial=REGION, **how)
    cells = geobento.get_embedding("mosaiks", spatial=REGION, output=OutputSpec.grid(), **how)
    assert whole.meta.pixels is not None
    assert (whole.meta.pixels.height, whole.meta.pixels.width) == (SIDE, SIDE)
    cuts = (0, 2), (2, 5)
    parts = [(rows, columns) for rows in cuts for columns in cuts]
    regions = [
        box(whole.meta.pixels, *([CELL * at + 2 * MARGIN * end for end, at in enumerate(ends)]
                                 for ends in part))
        for part in parts
    ]  # fmt: skip
    vectors = geobento.get_embeddings_batch("mosaiks", spatials=regions, **how)
    grids = geobento.get_embeddings_batch(
        "mosaiks", spatials=regions, output=OutputSpec.grid(), **how
    )
    shares = np.array([np.prod([high - low for low, high in part]) for part in parts]) / 25
    mean = np.tensordot(shares, np.stack([vector.data for vector in vectors]), 1)
    assert_same(mean.astype(np.float32), whole.data)
    a, b, c, d = (grid.data for grid in grids)
    upper, lower = np.concatenate([a, b], axis=2), np.concatenate([c, d], axis=2)
    assert_same(np.concatenate([upper, lower], axis=1), cells.data)


@pytest.mark.slow
def test_split_is_whole_over_http(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same of a server."""
    monkeypatch.setenv("GEOBENTO_URL", str(client.base_url))
    test_split_is_whole()
