"""What a catalog was when it was last opened."""

from __future__ import annotations

from pathlib import Path

from imagery.cache.store import PatchStore
from imagery.stac.catalogs.fingerprint import CatalogFingerprint


def test_the_last_of_each_catalog(tmp_path: Path) -> None:
    """Another address is another catalog; patches and their count are left alone."""
    folder = tmp_path / "patches"
    one, other = (
        CatalogFingerprint(folder, where) for where in ("/a/catalog.json", "/b/catalog.json")
    )
    assert one.read() is None
    one.write(("/a", "first"))
    one.write(("/a", "second"))
    assert CatalogFingerprint(folder, "/a/catalog.json").read() == ("/a", "second")
    assert other.read() is None
    assert PatchStore(folder, 100).list_files() == []


def test_unusable_files_have_no_fingerprint(tmp_path: Path) -> None:
    """A damaged file, a folder that is none."""
    last = CatalogFingerprint(tmp_path, "x")
    last.write(("a",))
    (file,) = tmp_path.iterdir()
    file.write_text("{")
    assert last.read() is None
    file.write_text('"text"')
    assert last.read() is None
    nowhere = CatalogFingerprint(file / "patches", "x")
    nowhere.write(("a",))
    assert nowhere.read() is None
