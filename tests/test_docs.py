"""The documentation is whole: pages, links, names of settings and metrics, diagrams."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from geobento.config.settings import NON_SETTINGS, PREFIX, Settings
from geobento.schemas.sample import Sample
from models import cards
from models.checkpoints.conversion import Checkpoint
from models.preprocessing.pixels import normalized
from models.preprocessing.resampling import resize
from models.vit import ViTModel
from tests.conftest import ROOT

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
OUTSIDE = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
"""Files that are not part of the site, so that its build does not check them."""
FOLDERS = "geobento|imagery|models|inference|runners|pipeline|server|compat|deploy|docs|tests"
NOT_SETTINGS = NON_SETTINGS | {"PORT", "REQUIRE_KEY"}
"""Names after the prefix that pages show as what is no setting."""


def test_the_navigation_names_every_page() -> None:
    """Each page once, and no page that does not exist."""
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    assert sorted(_paths(site["nav"])) == [str(page.relative_to(DOCS)) for page in PAGES]


@pytest.mark.parametrize("file", OUTSIDE, ids=lambda file: file.name)
def test_links_of_a_file_outside_of_the_site(file: Path) -> None:
    """Relative links name files of the repository; anchors name headings."""
    for target, anchor in re.findall(r"\]\(([^)#:]+)(?:#([^)]*))?\)", file.read_text()):
        linked = file.parent / target
        assert linked.exists(), target
        assert not anchor or anchor in _anchors(linked), f"{target}#{anchor}"


@pytest.mark.parametrize("page", [*PAGES, *OUTSIDE[:2]], ids=lambda page: page.name)
def test_settings_of_a_page_exist(page: Path) -> None:
    """A `GEOBENTO_*` variable that a page names is a setting."""
    known = {name.upper() for name in Settings.model_fields} | NOT_SETTINGS
    named = set(re.findall(rf"\b{PREFIX}([A-Z][A-Z0-9_]*)", page.read_text()))
    assert named <= known


@pytest.mark.parametrize("page", [*PAGES, *OUTSIDE[:2]], ids=lambda page: page.name)
def test_files_that_a_page_names_exist(page: Path) -> None:
    """A path into a package or folder of the repository leads somewhere."""
    for path in re.findall(rf"`((?:{FOLDERS})/[\w./-]*)`", page.read_text()):
        assert (ROOT / path).exists() or path.startswith("models/scalemae"), path


def test_the_skeleton_of_a_model_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The card and the class on the page about extending make a model that prepares a sample."""
    text = (DOCS / "extending.md").read_text()
    card = re.search(r"```yaml\n(.*?)```", text, re.DOTALL)
    code = re.search(r"```python\n(class ScaleMae.*?)```", text, re.DOTALL)
    assert card is not None
    assert code is not None
    (tmp_path / "scalemae").mkdir()
    (tmp_path / "scalemae" / "card.yaml").write_text(card[1])
    monkeypatch.setattr(cards, "ROOT", tmp_path)
    used = (ViTModel, Checkpoint, cards.load_card, normalized, resize)
    names: dict[str, Any] = {value.__name__: value for value in used}
    exec("from __future__ import annotations\n" + code[1], names)
    model = names["ScaleMae"](names["ScaleMae"].default_config("large"))
    assert (model.dim, model.grid_shape) == (1024, (14, 14))
    sample = Sample(np.full((3, 50, 50), 1000, np.float32), ("B4", "B3", "B2"), "s2_rgb")
    assert model.prepare(sample)["s2_rgb"].shape == (3, 224, 224)


def test_metrics_of_pages_exist() -> None:
    """A `geobento_*` metric that the page on operations names is in its generated table."""
    text = (DOCS / "operations.md").read_text()
    table = text.partition("<!-- metrics -->")[2].partition("<!-- /metrics -->")[0]
    defined = set(re.findall(r"`(geobento_\w+)`", table))
    assert defined
    assert set(re.findall(r"`(geobento_\w+)`", text)) <= defined


@pytest.mark.parametrize("source", sorted((DOCS / "diagrams").glob("*.mmd")), ids=lambda p: p.stem)
def test_a_diagram_is_drawn_from_its_source(source: Path) -> None:
    """Every word of a label in the Mermaid source is in the committed drawing."""
    drawing = re.sub(r"<[^>]+>", " ", (DOCS / "images" / f"{source.stem}.svg").read_text())
    drawn = set(re.findall(r"[\w.]+", drawing))
    labels = re.findall(r'\["`(.*?)`"\]', source.read_text(), re.DOTALL)
    labels += re.findall(r"(?:>>\w+|Note over \w+): (.*)", source.read_text())
    words = set(re.findall(r"[\w.]+", " ".join(labels).replace("<br/>", " ")))
    assert words
    assert words <= drawn


@pytest.mark.slow
def test_the_site_loads_nothing_from_other_hosts(tmp_path: Path) -> None:
    """The site builds without a warning, and its pages work from files alone."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(tmp_path)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    pages = sorted(tmp_path.rglob("*.html"))
    assert len(pages) > len(PAGES)
    for page in pages:
        loaded = re.findall(
            r"<(?:script|img|link)\b[^>]*?(?:src|href)=\"([^\"]+)\"", page.read_text()
        )
        assert not [url for url in loaded if re.match(r"(https?:)?//", url)], page.name
        assert 'class="mermaid"' not in page.read_text()  # its script would come from a CDN


def _paths(nav: Any) -> list[str]:
    """Paths of the pages below an entry of the navigation."""
    if isinstance(nav, str):
        return [nav]
    entries = nav.values() if isinstance(nav, dict) else nav
    return [path for entry in entries for path in _paths(entry)]


def _anchors(page: Path) -> set[str]:
    """Anchors of the headings of a page, as its site has them."""
    headings = re.findall(r"^#+ (.*)", page.read_text(), re.MULTILINE)
    return {
        re.sub(r"[^\w\s-]", "", heading).strip().lower().replace(" ", "-") for heading in headings
    }
