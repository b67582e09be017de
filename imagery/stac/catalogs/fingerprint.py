"""The stored fingerprint of a catalog, for use while the catalog is down."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path


class CatalogFingerprint:
    """The last known fingerprint of a catalog, in a file beside its cached patches.

    A file that cannot be written or read counts as absent.

    Args:
        folder: Directory of the cached patches.
        location: Location from which the catalog is opened.
    """

    def __init__(self, folder: Path, location: str) -> None:
        self._folder = folder
        digest = hashlib.sha256(location.encode()).hexdigest()
        self._path = folder / f"{digest}.identity"

    def read(self) -> tuple[str, ...] | None:
        """The fingerprint; None if the catalog was not opened before."""
        try:
            content = json.loads(self._path.read_bytes())
        except (OSError, ValueError):
            return None
        return tuple(content) if isinstance(content, list) else None

    def write(self, fingerprint: Sequence[str]) -> None:
        """Store the fingerprint, replacing an earlier one."""
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(".part", dir=self._folder)
            with os.fdopen(descriptor, "w") as stream:
                json.dump(list(fingerprint), stream)
            Path(name).replace(self._path)
