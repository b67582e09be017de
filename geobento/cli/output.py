"""Output of commands: progress, JSON lines, files."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import click
import numpy as np
import orjson
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from geobento.schemas.embedding import Embedding

console = Console(stderr=True)


def progress_bar() -> Progress:
    """A progress bar on standard error, if that is a terminal."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not sys.stderr.isatty(),
    )


def write_embeddings(embeddings: list[Embedding], names: list[str], out: Path | None) -> None:
    """Write an .npz file, or without one print a JSON line per embedding.

    Args:
        embeddings: The embeddings.
        names: Names of the inputs.
        out: The file.
    """
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
    write_file(
        target,
        lambda stream: np.savez(stream, inputs=np.array(names), meta=np.array(meta), **arrays),  # type: ignore[arg-type]
    )
    console.print(f"{target}: {', '.join(sorted(map(str, shapes)))}")


def write_file(target: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file completely or not at all."""
    partial = target.with_name(target.name + ".part")
    with partial.open("wb") as stream:
        write(stream)
    partial.replace(target)
