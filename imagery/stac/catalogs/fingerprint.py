"""What a catalog was when it was last opened, for when it is down."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path


class CatalogFingerprint:
    """The last identity of a catalog, in a file beside the patches that it gave.

    A file that cannot be written or read is as good as none.

    Args:
        folder: That of the patches.
        location: What the catalog is opened by.
    """

    def __init__(self, folder: Path, location: str) -> None:
        self._folder = folder
        digest = hashlib.sha256(location.encode()).hexdigest()
        self._path = folder / f"{digest}.identity"

    def read(self) -> tuple[str, ...] | None:
        """The identity; None: it was not opened before."""
        try:
            found = json.loads(self._path.read_bytes())
        except (OSError, ValueError):
            return None
        return tuple(found) if isinstance(found, list) else None

    def write(self, fingerprint: Sequence[str]) -> None:
        """Replace it."""
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            number, name = tempfile.mkstemp(".part", dir=self._folder)
            with os.fdopen(number, "w") as stream:
                json.dump(list(fingerprint), stream)
            Path(name).replace(self._path)
