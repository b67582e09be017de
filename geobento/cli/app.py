"""The command line. Commands that need more than the contract live in their own rooms."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

import click
import numpy as np
import orjson
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from geobento.client import functions, image_functions
from geobento.config import api_keys as config_api_keys
from geobento.schemas.embedding import Embedding
from geobento.schemas.errors import GeoBentoError, MissingExtra, ModelStoreError, SettingsError
from geobento.schemas.specs import (
    FetchSpec,
    InputPrepSpec,
    OutputSpec,
    PointBuffer,
    SensorSpec,
    TemporalSpec,
)
from geobento.version import __version__

LAZY_COMMANDS = {
    "models": "inference.cli:models",
    "demo-archive": "imagery.cli:demo_archive",
    "cache": "imagery.cli:cache",
}
"""Command -> where it is defined; imported when it is called."""

IMAGES_PER_REQUEST = 16

console = Console(stderr=True)


class _LazyGroup(click.Group):
    """A group whose commands of other rooms are imported only when called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *LAZY_COMMANDS])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in LAZY_COMMANDS:
            return super().get_command(ctx, cmd_name)
        module, _, name = LAZY_COMMANDS[cmd_name].partition(":")
        try:
            command: click.Command = getattr(import_module(module), name)
        except ModuleNotFoundError as error:
            raise click.ClickException(
                f"`geobento {cmd_name}` needs: pip install 'geobento[serve]' "
                f"({error.name} is missing)"
            ) from None
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except GeoBentoError as error:
            where = f" ({error.field})" if error.field else ""
            raise click.ClickException(f"{error.message}{where}") from None
        except (MissingExtra, ModelStoreError, SettingsError) as error:
            raise click.ClickException(str(error)) from None


@click.group(cls=_LazyGroup)
@click.version_option(__version__, prog_name="geobento")
def main() -> None:
    """Pictures and places into vectors."""


@main.group("keys")
def api_keys() -> None:
    """API keys of a service."""


@api_keys.command("new")
@click.argument("name")
def new_key(name: str) -> None:
    """Print a new key, and what GEOBENTO_API_KEYS has to hold for it."""
    try:
        key, entry = config_api_keys.generate_key(name)
    except ValueError:
        raise click.BadParameter("accepted: letters, digits, dots, - and _") from None
    click.echo(f"key (for the client, shown only here): {key}")
    click.echo(f"entry (for the service): {entry}")


class _PointType(click.ParamType[tuple[float, float]]):
    name = "LON,LAT"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[float, float]:
        try:
            lon, lat = (float(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not LON,LAT such as 34.066,-3.401", param, ctx)
        return lon, lat


class _Transform(click.ParamType[tuple[float, ...]]):
    name = "A,B,C,D,E,F"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[float, ...]:
        try:
            a, b, c, d, e, f = (float(part) for part in str(value).split(","))
        except ValueError:
            self.fail(
                f"{value!r} is not A,B,C,D,E,F such as 10,0,617420,0,-10,9625020: "
                "x = A col + B row + C, y = D col + E row + F",
                param,
                ctx,
            )
        return a, b, c, d, e, f


class _OutputFile(click.ParamType[Path]):
    name = "FILE"

    def convert(self, value: Any, param: Any, ctx: Any) -> Path:
        path = Path(value)
        if path.is_dir() or not path.parent.is_dir():
            self.fail(f"{value!r} cannot be written: it needs a folder that exists", param, ctx)
        return path


_FETCH_OPTIONS = (
    click.option(
        "--buffer", "buffer_m", type=float, default=1000, show_default=True, help="Metres."
    ),
    click.option("--from", "start", required=True, help="First day inside the window."),
    click.option("--to", "end", required=True, help="First day outside the window."),
    click.option("--scale-m", type=float, help="Ground size of a pixel, metres."),
    click.option("--cloudy-pct", type=float, help="Largest cloud percentage of a scene."),
    click.option("--backend", type=click.Choice(["auto", "gee", "stac", "demo"]), default="auto"),
)
_EMBED_OPTIONS = (
    click.argument("model"),
    click.option(
        "--point", "points", type=_PointType(), multiple=True, required=True, metavar="LON,LAT"
    ),
    *_FETCH_OPTIONS,
    click.option("--grid", is_flag=True, help="A grid of vectors instead of one vector."),
    click.option(
        "--input-prep",
        type=click.Choice(["resize", "tile", "auto"]),
        default="resize",
        show_default=True,
        help="How a large place is brought to the model.",
    ),
    click.option("--tile-size", type=int, help="Pixels; default: the model's input."),
    click.option("--tile-stride", type=int, help="Pixels; default: the tile's size."),
)


def _with_options(options: Sequence[Callable[[Any], Any]]) -> Callable[[Any], Any]:
    """Decorator: adds click options; those of the request become one argument, `options`."""

    def decorated(command: Any) -> Any:
        @wraps(command)
        def run(
            *,
            start: str,
            end: str,
            scale_m: float | None,
            cloudy_pct: float | None,
            **arguments: Any,
        ) -> None:
            fetch = FetchSpec(scale_m=scale_m, cloudy_pct=cloudy_pct)
            request_options = {
                "temporal": TemporalSpec.range(start, end),
                "fetch": None if fetch == FetchSpec() else fetch,
                "backend": arguments.pop("backend"),
            }
            if "grid" in arguments:
                request_options["output"] = (
                    OutputSpec.grid() if arguments.pop("grid") else OutputSpec.pooled()
                )
                request_options["input_prep"] = InputPrepSpec(
                    *(arguments.pop(name) for name in ("input_prep", "tile_size", "tile_stride"))
                )
            command(options=request_options, **arguments)

        for option in reversed(options):
            run = option(run)
        return run

    return decorated


def _to_regions(points: Sequence[tuple[float, float]], buffer_m: float) -> list[PointBuffer]:
    return [PointBuffer(lon=lon, lat=lat, buffer_m=buffer_m) for lon, lat in points]


@main.command()
@_with_options(_EMBED_OPTIONS)
@click.option("--out", type=_OutputFile(), help="Write an .npz file.")
def embed(
    model: str,
    points: tuple[tuple[float, float], ...],
    buffer_m: float,
    options: dict[str, Any],
    out: Path | None,
) -> None:
    """Embed places (--point may be repeated) in a time window."""
    places = _to_regions(points, buffer_m)
    with _progress_bar() as progress:
        embeddings = [
            functions.get_embedding(model, spatial=place, **options)
            for place in progress.track(places, description="places")
        ]
    _write_embeddings(embeddings, [f"{lon},{lat}" for lon, lat in points], out)


@main.command()
@_with_options(_EMBED_OPTIONS)
def plan(
    model: str, points: tuple[tuple[float, float], ...], buffer_m: float, options: dict[str, Any]
) -> None:
    """Say what `embed` would do: pixels, tiles, scenes, requests, bytes. Fetches no pixel."""
    for (lon, lat), place in zip(points, _to_regions(points, buffer_m), strict=True):
        found = functions.plan_embedding(model, spatial=place, **options)
        click.echo(orjson.dumps({"input": f"{lon},{lat}", **found.model_dump(mode="json")}))


@main.command()
@click.argument("model", required=False)
@click.option("--point", type=_PointType(), required=True, metavar="LON,LAT")
@click.option("--collection", help="Instead of MODEL: what to fetch; with --bands.")
@click.option("--bands", help="Names of bands, separated by commas.")
@_with_options(_FETCH_OPTIONS)
@click.option("--out", type=_OutputFile(), help="Write a picture (PNG).")
def inspect(
    model: str | None,
    point: tuple[float, float],
    collection: str | None,
    bands: str | None,
    buffer_m: float,
    options: dict[str, Any],
    out: Path | None,
) -> None:
    """Say what the pixels of a place are like: statistics, histograms, what is odd."""
    if (collection is None) != (bands is None):
        raise click.UsageError("--collection and --bands go together")
    if collection is not None and bands is not None:
        fetch = options.pop("fetch") or FetchSpec()
        given = {name: value for name, value in asdict(fetch).items() if value is not None}
        options["sensor"] = SensorSpec(
            collection=collection, bands=tuple(bands.split(",")), **given
        )
    (place,) = _to_regions([point], buffer_m)
    found = functions.inspect_patch(model, spatial=place, **options)
    if out is not None:
        _write_file(out, lambda stream: stream.write(found.quicklook))
    described = found.model_dump(mode="json", exclude={"quicklook"})
    click.echo(orjson.dumps({"input": "{},{}".format(*point), **described}))


@main.command("embed-pixels")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--model", default="mosaiks", show_default=True)
@click.option("--bands", metavar="B2,B3,...", help="Names of its bands; default: as it says.")
@click.option("--units", help="Units of its values; default: as it says.")
@click.option("--modality", help="Which imagery it is; default: the card's.")
@click.option("--crs", help="Reference system; default: as it says.")
@click.option("--transform", type=_Transform(), help="Where its pixels lie; default: as it says.")
@click.option("--nodata", type=float, help="Value that means no data; default: as it says.")
@click.option("--time", "times", multiple=True, help="When it is from; may be repeated.")
@click.option("--grid", is_flag=True, help="A grid of vectors instead of one vector.")
@click.option("--out", type=_OutputFile(), help="Write an .npz file.")
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
    """Embed pixels of your own: a GeoTIFF, or an .npy file."""
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
    _write_embeddings([embedding], [str(file)], out)


@main.command("embed-image")
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option("--model", default="mosaiks", show_default=True)
@click.option("--normalize/--no-normalize", default=None, help="Unit length; default: the card's.")
@click.option("--out", type=_OutputFile(), help="Write an .npz file.")
def embed_image(
    files: tuple[Path, ...], model: str, normalize: bool | None, out: Path | None
) -> None:
    """Embed pictures."""
    embeddings: list[Embedding] = []
    with _progress_bar() as progress:
        task = progress.add_task("pictures", total=len(files))
        for first in range(0, len(files), IMAGES_PER_REQUEST):
            part = files[first : first + IMAGES_PER_REQUEST]
            embeddings += image_functions.get_image_embeddings(model, part, normalize=normalize)
            progress.advance(task, len(part))
    _write_embeddings(embeddings, [str(file) for file in files], out)


@main.command("embed-text")
@click.argument("texts", nargs=-1, required=True)
@click.option("--model", default="clip_vit_large_patch14", show_default=True)
@click.option("--normalize/--no-normalize", default=None, help="Unit length; default: the card's.")
@click.option("--out", type=_OutputFile(), help="Write an .npz file.")
def embed_text(
    texts: tuple[str, ...], model: str, normalize: bool | None, out: Path | None
) -> None:
    """Embed texts, in the space of the model's pictures."""
    _write_embeddings(
        image_functions.get_text_embeddings(model, texts, normalize=normalize), list(texts), out
    )


@main.command()
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option("--class", "classes", multiple=True, required=True, help="May be repeated.")
@click.option("--template", default="{}", show_default=True, help="Where a class goes: {}.")
@click.option("--model", default="clip_vit_large_patch14", show_default=True)
def classify(files: tuple[Path, ...], classes: tuple[str, ...], template: str, model: str) -> None:
    """Say which of some classes every picture shows (zero shot)."""
    for file, found in zip(
        files,
        image_functions.classify_images(model, files, classes, template=template),
        strict=True,
    ):
        line = {
            "input": str(file),
            "probabilities": dict(zip(classes, found.probabilities.tolist(), strict=True)),
            "meta": found.meta.model_dump(mode="json"),
        }
        click.echo(orjson.dumps(line))


def _progress_bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not sys.stderr.isatty(),
    )


def _write_embeddings(embeddings: list[Embedding], names: list[str], out: Path | None) -> None:
    """Write the file, or one JSON line per embedding."""
    if out is None:
        for name, embedding in zip(names, embeddings, strict=True):
            line = {
                "input": name,
                "shape": embedding.data.shape,
                "data": embedding.data,
                "meta": embedding.meta.model_dump(mode="json"),
            }
            click.echo(orjson.dumps(line, option=orjson.OPT_SERIALIZE_NUMPY))
        return
    shapes = {embedding.data.shape for embedding in embeddings}
    arrays = (
        {"embeddings": np.stack([embedding.data for embedding in embeddings])}
        if len(shapes) == 1
        else {f"embedding_{i}": embedding.data for i, embedding in enumerate(embeddings)}
    )
    meta = [embedding.meta.model_dump_json() for embedding in embeddings]
    target = out if out.suffix == ".npz" else out.with_name(out.name + ".npz")
    _write_file(
        target,
        lambda stream: np.savez(stream, inputs=np.array(names), meta=np.array(meta), **arrays),  # type: ignore[arg-type]
    )
    console.print(f"{target}: {', '.join(sorted(map(str, shapes)))}")


def _write_file(target: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file that is there as a whole or not at all."""
    partial = target.with_name(target.name + ".part")
    with partial.open("wb") as stream:
        write(stream)
    partial.replace(target)


if __name__ == "__main__":
    main()
