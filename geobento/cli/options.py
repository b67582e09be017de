"""Types and options that commands share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import click

from geobento.schemas.specs import FetchSpec, InputPrepSpec, OutputSpec, PointBuffer, TemporalSpec


class PointType(click.ParamType[tuple[float, float]]):
    """A point as longitude and latitude."""

    name = "LON,LAT"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[float, float]:
        """Longitude and latitude."""
        try:
            lon, lat = (float(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not LON,LAT such as 34.066,-3.401", param, ctx)
        return lon, lat


class TransformType(click.ParamType[tuple[float, ...]]):
    """Coefficients of an affine transform."""

    name = "A,B,C,D,E,F"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[float, ...]:
        """The six coefficients."""
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


class OutputFile(click.ParamType[Path]):
    """A file to write, in an existing folder."""

    name = "FILE"

    def convert(self, value: Any, param: Any, ctx: Any) -> Path:
        """The path."""
        path = Path(value)
        if path.is_dir() or not path.parent.is_dir():
            self.fail(f"{value!r} cannot be written: it needs a folder that exists", param, ctx)
        return path


FETCH_OPTIONS = (
    click.option(
        "--buffer",
        "buffer_m",
        type=float,
        default=1000,
        show_default=True,
        help="Half the side, metres.",
    ),
    click.option("--from", "start", required=True, help="Start of the window, inclusive."),
    click.option("--to", "end", required=True, help="End of the window, exclusive."),
    click.option("--scale-m", type=float, help="Ground size of a pixel, metres."),
    click.option("--cloudy-pct", type=float, help="Maximum cloud cover of a scene, percent."),
    click.option(
        "--backend",
        type=click.Choice(["auto", "gee", "stac", "demo"]),
        default="auto",
        help="Source of the pixels.",
    ),
)
EMBED_OPTIONS = (
    click.argument("model"),
    click.option(
        "--point",
        "points",
        type=PointType(),
        multiple=True,
        required=True,
        metavar="LON,LAT",
        help="Centre of a region, degrees; may be repeated.",
    ),
    *FETCH_OPTIONS,
    click.option("--grid", is_flag=True, help="A grid of vectors instead of one vector."),
    click.option(
        "--input-prep",
        type=click.Choice(["resize", "tile", "auto"]),
        default="resize",
        show_default=True,
        help="What happens to regions larger than the model's input.",
    ),
    click.option("--tile-size", type=int, help="Pixels; default: the size of the model's input."),
    click.option("--tile-stride", type=int, help="Pixels; default: the tile size."),
)


def with_options(options: Sequence[Callable[[Any], Any]]) -> Callable[[Any], Any]:
    """Decorator: adds click options. Those of the request become one argument, `options`."""

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


def to_regions(points: Sequence[tuple[float, float]], buffer_m: float) -> list[PointBuffer]:
    """Squares around points."""
    return [PointBuffer(lon=lon, lat=lat, buffer_m=buffer_m) for lon, lat in points]
