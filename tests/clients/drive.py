"""Calls every operation of a live server with the generated client; prints the results as JSON.

Run with the generated package on the path: ``python drive.py URL KEY IMAGE``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from geobento_api import AuthenticatedClient, Client
from geobento_api.api.embeddings import geo_embedding, image_embedding
from geobento_api.api.models import describe_model, list_models
from geobento_api.models import (
    EmbeddingItem,
    EmbeddingResponse,
    ErrorBody,
    GeoEmbeddingRequest,
    ImageEmbeddingForm,
    OutputGrid,
    PointBuffer,
    TemporalRange,
)
from geobento_api.types import File


def shape(entry: EmbeddingItem | ErrorBody) -> list[int] | str:
    """Of a vector or a grid, or the type of an error."""
    return entry.error.type_ if isinstance(entry, ErrorBody) else entry.shape


def embeddings(answer: EmbeddingResponse | ErrorBody | None) -> list[EmbeddingItem | ErrorBody]:
    """The entries of an answer that has some."""
    assert isinstance(answer, EmbeddingResponse), answer
    return answer.embeddings


def main(url: str, key: str, image: str) -> None:
    """Ask, and print."""
    client = AuthenticatedClient(base_url=url, token=key, timeout=None)
    region = PointBuffer(type_="PointBuffer", lon=34.066, lat=-3.401, buffer_m=500)
    north = PointBuffer(type_="PointBuffer", lon=34.066, lat=60, buffer_m=500)
    temporal = TemporalRange(mode="range", start="2023-06-01", end="2023-07-01")
    with Path(image).open("rb") as stream:
        upload = ImageEmbeddingForm(
            "mosaiks", [File(stream, "field.jpg", "image/jpeg")], encoding="base64"
        )
        from_file = embeddings(image_embedding.sync(client=client, body=upload))
    pooled = GeoEmbeddingRequest("mosaiks", spatial=region, temporal=temporal)
    grid = GeoEmbeddingRequest(
        "mosaiks", spatial=region, temporal=temporal, output=OutputGrid(mode="grid")
    )
    batch = GeoEmbeddingRequest("mosaiks", spatials=[region, north], temporal=temporal)
    (cells,) = embeddings(geo_embedding.sync(client=client, body=grid))
    failed = describe_model.sync_detailed("nope", client=client)
    refused = list_models.sync_detailed(client=Client(base_url=url))
    assert isinstance(failed.parsed, ErrorBody)
    assert isinstance(refused.parsed, ErrorBody)
    result = {
        "image": [shape(entry) for entry in from_file],
        "pooled": [
            shape(entry) for entry in embeddings(geo_embedding.sync(client=client, body=pooled))
        ],
        "grid": shape(cells),
        "grid_crs": None if isinstance(cells, ErrorBody) else cells.meta.crs,
        "batch": [
            shape(entry) for entry in embeddings(geo_embedding.sync(client=client, body=batch))
        ],
        "error": [failed.status_code, failed.parsed.error.type_],
        "without_key": [refused.status_code, refused.parsed.error.type_],
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
