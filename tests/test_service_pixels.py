"""User-supplied pixels, over HTTP."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import pytest
from affine import Affine
from rasterio.crs import CRS

import geobento
from geobento import OutputSpec, embed_pixels
from geobento.schemas import serialization
from geobento.schemas.embedding import Embedding
from geobento.schemas.errors import InvalidRequest, ModelError, SpecError
from models.mosaiks.model import Mosaiks
from tests import geotiffs
from tests.geotiffs import geotiff

CARD = Mosaiks.card

BANDS = CARD.modalities["s2"].sensor.bands
NUMBERS = np.random.default_rng(0).integers(200, 4000, (12, 40, 50)).astype(np.uint16)
FILE = geotiff(NUMBERS, bands=BANDS, units="digital numbers")


def array(values: Any) -> bytes:
    """An `.npy` file."""
    stream = io.BytesIO()
    np.save(stream, values)
    return stream.getvalue()


def ask(client: httpx.Client, file: bytes, **fields: Any) -> httpx.Response:
    """A form as any HTTP client sends it."""
    text = {
        name: value if isinstance(value, str) else orjson.dumps(value).decode()
        for name, value in fields.items()
    }
    return client.post(
        "/geo_embedding", data={"model": "mosaiks"} | text, files={"pixels": ("own.tif", file)}
    )


def only(answer: httpx.Response) -> Embedding:
    """The embedding of an answer that has one."""
    assert answer.status_code == 200, answer.text
    (result,) = serialization.decode_embeddings(answer.content)
    assert isinstance(result, Embedding)
    return result


def test_a_geotiff(small_service: httpx.Client) -> None:
    """What the file says is enough; a grid of vectors lies where the pixels do."""
    answer = ask(small_service, FILE)
    assert answer.json()["model"] == "mosaiks"
    vector = only(answer)
    assert vector.data.shape == (1024,)
    assert (vector.meta.backend, vector.meta.source, vector.meta.crs) == (
        "user",
        "GeoTIFF",
        geotiffs.CRS,
    )
    packed = only(ask(small_service, FILE, encoding="base64", output={"mode": "grid"}))
    assert packed.meta.grid is not None
    assert packed.meta.grid.transform[2] >= geotiffs.TRANSFORM[2]
    np.testing.assert_allclose(packed.data.mean(axis=(1, 2)), vector.data, atol=1e-6)


def test_an_array(small_service: httpx.Client) -> None:
    """The form says what the file cannot."""
    metadata = {"bands": BANDS[::-1], "units": "reflectance"}
    answer = only(ask(small_service, array(NUMBERS[::-1] / 10_000), **metadata))
    np.testing.assert_allclose(answer.data, only(ask(small_service, FILE)).data, atol=1e-5)
    assert (answer.meta.source, answer.meta.crs) == ("NumPy array", None)


@pytest.mark.parametrize(
    ("file", "fields", "status", "kind", "field"),
    [
        (b"<VRTDataset/>", {}, 400, "invalid_image", "pixels"),
        (array(NUMBERS), {}, 400, "spec_error", "bands"),
        (array(NUMBERS), {"bands": list(BANDS)}, 400, "spec_error", "units"),
        (FILE, {"bands": list("abcdefghijkl")}, 400, "model_error", "bands"),
        (FILE, {"units": "reflectance"}, 400, "spec_error", "units"),
        (FILE, {"model": "clip_vit_l_14"}, 400, "model_error", "model"),
        (FILE, {"model": "nope"}, 404, "model_not_found", "model"),
        (FILE, {"spatial": {}}, 400, "spec_error", "spatial"),
        (FILE, {"output": {"mode": "map"}}, 400, "spec_error", "output"),
        (array(np.zeros((1, 2000, 2000), np.uint8)), {}, 413, "payload_too_large", "pixels"),
    ],
)
def test_refusals(
    small_service: httpx.Client,
    file: bytes,
    fields: dict[str, Any],
    status: int,
    kind: str,
    field: str,
) -> None:
    """The same shape and the same statuses as everywhere."""
    answer = ask(small_service, file, **fields)
    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["field"]) == (status, kind, field)


def test_a_file_in_a_json_body(small_service: httpx.Client) -> None:
    """Pixels go as a form; JSON has regions."""
    answer = small_service.post("/geo_embedding", json={"model": "mosaiks", "pixels": "AAAA"})
    assert answer.status_code == 400
    assert answer.json()["error"]["field"] == "pixels"


def test_python_asks_a_server_the_same(
    small_service: httpx.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`embed_pixels` with GEOBENTO_URL and without differ in where, not in what."""
    path = tmp_path / "own.tif"
    path.write_bytes(geotiff(NUMBERS, bands=BANDS, units="digital numbers", nodata=777))
    crs, transform = CRS.from_string(geotiffs.CRS), Affine(*geotiffs.TRANSFORM)
    tiles = geobento.InputPrepSpec("tile", tile_size=32)

    def answers() -> list[Embedding]:
        return [
            embed_pixels("mosaiks", str(path)),
            embed_pixels("mosaiks", path, nodata=float("nan"), output=OutputSpec.pooled("max")),
            embed_pixels(
                "rcf",
                NUMBERS / 10_000,
                bands=BANDS,
                units="reflectance",
                crs=crs,
                transform=transform,
                times=["2023-06-11"],
                output=OutputSpec.grid(),
                input_prep=tiles,
            ),
        ]

    here = answers()
    monkeypatch.setenv("GEOBENTO_URL", str(small_service.base_url))
    for local, served in zip(here, answers(), strict=True):
        np.testing.assert_allclose(served.data, local.data, atol=1e-5)
        assert served.meta.without_timing() == local.meta.without_timing()
    assert here[0].meta.valid_fraction != here[1].meta.valid_fraction == 1
    assert here[2].meta.grid is not None
    with pytest.raises(ModelError, match="missing: B1, B2") as caught:
        embed_pixels("mosaiks", NUMBERS, bands=list("abcdefghijkl"), units="digital numbers")
    assert caught.value.detail["missing"][0] == "B1"
    with pytest.raises(SpecError, match="name the 12 bands"):
        embed_pixels("mosaiks", NUMBERS)


@pytest.mark.parametrize(
    "pixels",
    ["/no/such/file.tif", ".", "a\0b", np.array(["a", None], object), [["x"]]],
    ids=["missing", "folder", "no path", "objects", "words"],
)
def test_invalid_pixel_files(pixels: Any) -> None:
    """Rejected before anything is sent; the message lists no other file."""
    with pytest.raises(InvalidRequest) as caught:
        embed_pixels("mosaiks", pixels)
    assert caught.value.field == "pixels"


def test_a_transform_of_a_matrix_that_is_none() -> None:
    """Six numbers, or nine whose last three say nothing."""
    with pytest.raises(InvalidRequest) as caught:
        embed_pixels("mosaiks", NUMBERS, crs=geotiffs.CRS, transform=(1, 0, 0, 0, -1, 0, 0, 0, 2))
    assert (caught.value.field or "").startswith("transform")
