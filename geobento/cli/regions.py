"""Commands for regions and pixels."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import orjson

from geobento.cli.options import (
    EMBED_OPTIONS,
    FETCH_OPTIONS,
    OutputFile,
    PointType,
    TransformType,
    to_regions,
    with_options,
)
from geobento.cli.output import progress_bar, write_embeddings, write_file
from geobento.client import functions
from geobento.schemas.specs import FetchSpec, OutputSpec, SensorSpec


@click.command()
@with_options(EMBED_OPTIONS)
@click.option("--out", type=OutputFile(), help="Write an .npz file.")
def embed(
    model: str,
    points: tuple[tuple[float, float], ...],
    buffer_m: float,
    options: dict[str, Any],
    out: Path | None,
) -> None:
    """Embed regions (--point may be repeated) in a time window."""
    regions = to_regions(points, buffer_m)
    with progress_bar() as progress:
        embeddings = [
            functions.get_embedding(model, spatial=region, **options)
            for region in progress.track(regions, description="regions")
        ]
    write_embeddings(embeddings, [f"{lon},{lat}" for lon, lat in points], out)


@click.command()
@with_options(EMBED_OPTIONS)
def plan(
    model: str, points: tuple[tuple[float, float], ...], buffer_m: float, options: dict[str, Any]
) -> None:
    """Say what `embed` would do: pixels, tiles, scenes, requests, bytes. Fetches no pixels."""
    for (lon, lat), region in zip(points, to_regions(points, buffer_m), strict=True):
        region_plan = functions.plan_embedding(model, spatial=region, **options)
        click.echo(orjson.dumps({"input": f"{lon},{lat}", **region_plan.model_dump(mode="json")}))


@click.command()
@click.argument("model", required=False)
@click.option(
    "--point",
    type=PointType(),
    required=True,
    metavar="LON,LAT",
    help="Centre of the region, degrees.",
)
@click.option("--collection", help="Collection to fetch, in place of MODEL; with --bands.")
@click.option("--bands", help="Names of bands, separated by commas.")
@with_options(FETCH_OPTIONS)
@click.option("--out", type=OutputFile(), help="Write an image (PNG).")
def inspect(
    model: str | None,
    point: tuple[float, float],
    collection: str | None,
    bands: str | None,
    buffer_m: float,
    options: dict[str, Any],
    out: Path | None,
) -> None:
    """Describe the pixels of a region: statistics, histograms, warnings."""
    if (collection is None) != (bands is None):
        raise click.UsageError("--collection and --bands go together")
    if collection is not None and bands is not None:
        fetch = options.pop("fetch") or FetchSpec()
        changes = {name: value for name, value in asdict(fetch).items() if value is not None}
        options["sensor"] = SensorSpec(
            collection=collection, bands=tuple(bands.split(",")), **changes
        )
    (region,) = to_regions([point], buffer_m)
    inspection = functions.inspect_patch(model, spatial=region, **options)
    if out is not None:
        write_file(out, lambda stream: stream.write(inspection.quicklook))
    description = inspection.model_dump(mode="json", exclude={"quicklook"})
    click.echo(orjson.dumps({"input": "{},{}".format(*point), **description}))


@click.command("embed-pixels")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--model", default="mosaiks", show_default=True, help="Id or alias.")
@click.option("--bands", metavar="B2,B3,...", help="Names of its bands; default: from the file.")
@click.option("--units", help="Units of its values; default: from the file.")
@click.option("--modality", help="Modality; default: the card's.")
@click.option("--crs", help="CRS; default: from the file.")
@click.option("--transform", type=TransformType(), help="Affine transform; default: from the file.")
@click.option("--nodata", type=float, help="Value of pixels without data; default: from the file.")
@click.option("--time", "times", multiple=True, help="Acquisition time; may be repeated.")
@click.option("--grid", is_flag=True, help="A grid of vectors instead of one vector.")
@click.option("--out", type=OutputFile(), help="Write an .npz file.")
def embed_pixels(
    file: Path,
    model: str,
    bands: str | None,
    units: str | None,
    modality: str | None,
    crs: str | None,
    transform: tuple[float, ...] | None,
    nodata: float | None,
    times: tuple[str, ...],
    grid: bool,
    out: Path | None,
) -> None:
    """Embed user-supplied pixels: a GeoTIFF or an .npy file."""
    embedding = functions.embed_pixels(
        model,
        file,
        bands=None if bands is None else [name.strip() for name in bands.split(",")],
        units=units,
        modality=modality,
        crs=crs,
        transform=transform,
        nodata=nodata,
        times=times,
        output=OutputSpec.grid() if grid else OutputSpec.pooled(),
    )
    write_embeddings([embedding], [str(file)], out)
