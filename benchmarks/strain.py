"""What the benchmarks under strain share: a small model, expected vectors, a judge of answers."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from typing import Any

from benchmarks.answers import Judging
from benchmarks.images import RESULTS, requests, vectors
from benchmarks.load import Judge
from benchmarks.pictures import jpegs

COUNT = 16


def prepared(model: str, size: tuple[int, int] = (320, 240)) -> tuple[str, list[bytes], Judge]:
    """The model's tag, requests with different pictures, and a judge that knows their vectors."""
    from models.importing import import_model

    tag = import_model(model, dummy=model != "mosaiks").tag
    data = jpegs(size, COUNT)
    return tag, requests(model, data, "multipart"), Judging(vectors(tag, data))


def write(rows: Sequence[dict[str, Any]], model: str, name: str) -> None:
    """Print the table; write it, and the same as JSON."""
    RESULTS.mkdir(exist_ok=True)
    about = {"model": model, "machine": platform.machine(), "cores": os.cpu_count()}
    (RESULTS / f"{name}.json").write_text(json.dumps({"about": about, "rows": rows}, indent=1))
    columns = list(dict.fromkeys(column for row in rows for column in row))
    lines = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    lines += [f"| {' | '.join(str(row.get(one, '')) for one in columns)} |" for row in rows]
    (RESULTS / f"{name}.md").write_text("\n".join([f"# {model}", "", *lines]) + "\n")
    print("\n".join(lines))
