"""What the benchmarks under strain share: a small model, expected vectors, a judge of answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks import images
from benchmarks.load import Verify
from benchmarks.synthetic_images import make_jpegs
from benchmarks.verify import ResponseVerifier

COUNT = 16


def prepare_load(
    model: str, size: tuple[int, int] = (320, 240), checkpoint: Path | None = None
) -> tuple[str, list[bytes], Verify]:
    """The model's tag, requests with different images, and a judge that knows their vectors."""
    from inference.importing import import_model

    if checkpoint is None:
        tag = import_model(model, dummy=model != "mosaiks").tag
    else:
        config = checkpoint.with_name("config.json")
        tag = import_model(model, checkpoint=checkpoint, config=config).tag
    data = make_jpegs(size, COUNT)
    return (
        tag,
        images.make_requests(model, data, "multipart"),
        ResponseVerifier(images.reference_vectors(tag, data)),
    )


def write_results(rows: list[dict[str, Any]], model: str, name: str) -> None:
    """Both files of a benchmark; the table is printed, too."""
    images.write_results(
        rows, model, name, list(dict.fromkeys(column for row in rows for column in row))
    )
    print((images.RESULTS / f"{name}.md").read_text())
