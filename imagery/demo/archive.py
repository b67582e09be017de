"""The demo archive: a static STAC catalog of COGs with synthetic landscapes.

The service uses it when no source is configured, so that everything works without a download.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import pystac

from imagery.demo.items import EMBEDDING_COLLECTION, item_writers
from imagery.demo.regions import DEMO_REGIONS

DEMO_VERSION = "4"
DEMO_NOTICE = (
    "synthetic imagery: the landscape is invented, there is nothing of this kind on the ground"
)

_COLLECTION_TITLES = {
    "sentinel-2-l2a": "Sentinel-2 L2A, synthetic",
    "sentinel-2-l1c": "Sentinel-2 L1C, synthetic",
    "sentinel-1-rtc": "Sentinel-1 RTC, synthetic",
    "cop-dem-glo-30": "Elevation, synthetic",
    EMBEDDING_COLLECTION.stac_collections[0]: "Annual embeddings, synthetic",
}

ProgressCallback = Callable[[int, int], None]


def ensure_demo_archive(directory: Path) -> Path:
    """The `catalog.json` of the demo archive in a folder, written if absent."""
    return write_demo_archive(directory)


def write_demo_archive(directory: Path, *, progress: ProgressCallback | None = None) -> Path:
    """Write the demo archive atomically.

    An archive of the same version is kept, an older one is replaced. Concurrent processes wait for
    the one that writes.

    Args:
        directory: A folder that does not exist, is empty, or holds a demo archive.
        progress: Called with the number of written and of all tasks.

    Returns:
        Path of the `catalog.json`.

    Raises:
        FileExistsError: The folder holds something else.
    """
    catalog = directory / "catalog.json"
    if _read_version(catalog) == DEMO_VERSION:
        return catalog
    target = directory.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    with _exclusive_lock(target.parent):
        if _read_version(catalog) == DEMO_VERSION:
            return catalog
        _check_target(target)
        unfinished = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        try:
            (unfinished / "new").mkdir()
            _write_archive(unfinished / "new", progress)
            _install_archive(unfinished, target)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return catalog


@contextmanager
def _exclusive_lock(folder: Path) -> Iterator[None]:
    """Hold an exclusive lock on a folder.

    Locking the folder itself leaves no lock file beside the archive, and the kernel frees the lock
    if the process dies. Some network file systems cannot lock folders. Several processes may then
    write, and `_install_archive` keeps the first archive.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def _install_archive(unfinished: Path, target: Path) -> None:
    """Move the archive `unfinished/new` to its target; an archive that is already there stays."""
    _check_target(target)
    if _read_version(target / "catalog.json") not in (None, DEMO_VERSION):
        with suppress(FileNotFoundError):
            os.rename(target, unfinished / "old")
    try:
        os.rename(unfinished / "new", target)
    except OSError:
        if _read_version(target / "catalog.json") != DEMO_VERSION:
            raise


def _check_target(target: Path) -> None:
    """Raise if the target is neither absent, nor an empty folder, nor a demo archive."""
    if target.is_dir():
        if _read_version(target / "catalog.json") is None and any(target.iterdir()):
            raise FileExistsError(f"{target} is not empty and holds no demo archive")
    elif target.exists():
        raise FileExistsError(f"{target} is not a folder")


def _read_version(catalog: Path) -> str | None:
    """Version of a demo archive; None if the catalog is absent or not a demo archive."""
    try:
        record = json.loads(catalog.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    version = record.get("geobento:demo_version") if isinstance(record, dict) else None
    return str(version) if version else None


def _write_archive(root: Path, progress: ProgressCallback | None) -> None:
    catalog = pystac.Catalog(
        id="geobento-demo",
        description=(
            f"Demo archive of GeoBento, {DEMO_NOTICE}. Monthly Sentinel-2 L2A and L1C and "
            "Sentinel-1 RTC of two regions over 2023 and of two in July 2022; their elevation and "
            "annual embeddings."
        ),
        extra_fields={"geobento:demo_version": DEMO_VERSION, "geobento:synthetic": True},
    )
    children = {name: _create_collection(name) for name in _COLLECTION_TITLES}
    catalog.add_children(children.values())
    writers = [writer for region in DEMO_REGIONS for writer in item_writers(region)]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for count, items in enumerate(pool.map(lambda write: write(root), writers), start=1):
            for item in items:
                children[str(item.collection_id)].add_item(item)
            if progress is not None:
                progress(count, len(writers))
    catalog.normalize_hrefs(str(root))
    for child in children.values():
        child.update_extent_from_items()
    for item in catalog.get_items(recursive=True):
        item.make_asset_hrefs_relative()
    catalog.save(catalog_type=pystac.CatalogType.SELF_CONTAINED)


def _create_collection(name: str) -> pystac.Collection:
    return pystac.Collection(
        id=name,
        title=_COLLECTION_TITLES[name],
        description=f"{_COLLECTION_TITLES[name]}: {DEMO_NOTICE}.",
        license="CC0-1.0",
        extent=pystac.Extent(
            pystac.SpatialExtent([[-180.0, -90.0, 180.0, 90.0]]),
            pystac.TemporalExtent([[datetime(2021, 1, 1, tzinfo=UTC), None]]),
        ),
    )
