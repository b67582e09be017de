"""The packages of an image."""

from __future__ import annotations

import subprocess
import sys

import pytest

from deploy.bento import EXTRAS, packages
from deploy.lock import LockError, lock, pins
from models.base import Model
from models.registry import MODEL_CLASSES, list_model_classes
from tests.conftest import ROOT

REQUIRED = {
    "house": ["Door>=1", "lift; extra == 'tall'", "bell; python_version < '3'"],
    "door": ["hinge[steel]"],
    "hinge": ["iron; extra == 'steel'", "wood; extra == 'oak'"],
    "lift": [],
    "iron": [],
    "torch": ["nvidia-something"],
}
VERSIONS = {
    **{"house": "0", "door": "1.2", "hinge": "2", "lift": "3", "iron": "4", "wood": "5"},
    "torch": "6",
}


def names(models: list[str], extras: list[str]) -> set[str]:
    """Packages, without versions."""
    return {line.partition("==")[0] for line in packages(models, extras)}


def test_extras_and_markers_are_followed() -> None:
    """What is needed is locked, also where an extra of a requirement needs it; no more."""
    assert lock(["house"], VERSIONS, REQUIRED.__getitem__) == [
        "door==1.2",
        "hinge==2",
        "house==0",
        "iron==4",
    ]
    assert "lift==3" in lock(["house[tall]"], VERSIONS, REQUIRED.__getitem__)


def test_a_package_without_a_version_is_an_error() -> None:
    """Nothing goes into an image at any version, but for torch's own CUDA libraries."""
    with pytest.raises(LockError, match="no version of hinge"):
        lock(["house"], {"house": "0", "door": "1.2"}, REQUIRED.__getitem__)
    assert lock(["torch"], VERSIONS, REQUIRED.__getitem__) == ["torch==6"]


def test_a_package_that_is_not_installed_is_an_error() -> None:
    """Whose requirements are not known cannot be locked."""
    with pytest.raises(LockError, match="no-such-package is needed and not installed"):
        lock(["no-such-package"], {"no-such-package": "1"})


def test_constraints_are_read_without_comments() -> None:
    """Names are compared as pip compares them."""
    assert pins("# text\nOne_Two==1  # why\n\nthree==2\n") == {"one-two": "1", "three": "2"}


def test_mosaiks_needs_no_library_of_networks() -> None:
    """The smallest image is small."""
    alone = names(["mosaiks"], [])
    assert {"torch", "bentoml", "rasterio"} <= alone
    unneeded = {"transformers", "timm", "open-clip-torch", "torchvision", "huggingface-hub"}
    assert unneeded <= names(list(MODEL_CLASSES), [])
    assert not alone & (unneeded | {"earthengine-api", "redis", "pytest"})
    assert {"earthengine-api", "redis"} <= names([], list(EXTRAS))


def test_everything_pinned_is_for_something() -> None:
    """`constraints.txt` has no package that nothing needs any more."""
    pinned = set(pins((ROOT / "constraints.txt").read_text()))
    assert pinned - names(list(MODEL_CLASSES), list(EXTRAS)) == set()


WARM_UP = """
import sys
from importlib.metadata import packages_distributions

from packaging.utils import canonicalize_name

from deploy.bento import packages

model, tag = sys.argv[1:]
locked = {line.partition("==")[0] for line in packages([model], [])} | {"geobento"}
missing = {
    module
    for module, owners in packages_distributions().items()
    if not locked & {canonicalize_name(owner) for owner in owners}
}


class Present:
    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in missing:
            return None
        return self.finder.find_spec(name, path, target)


sys.meta_path[:] = map(Present, sys.meta_path)
from inference.loading import load_model
from models.weights import store

stored = store.get_model(tag)
load_model(stored).warm_up()
if stored.metadata["tokenizer_sha256"]:
    stored.model().prepare_text("a field")
"""


@pytest.mark.slow
@pytest.mark.parametrize("family", list_model_classes(), ids=lambda family: family.card.id)
def test_a_model_runs_with_its_own_packages_alone(family: type[Model]) -> None:
    """Each says all libraries that it needs: the others are as if they were not there."""
    pytest.importorskip("transformers")
    from tests.models import small

    stored = small.stored(family)
    command = [sys.executable, "-c", WARM_UP, family.card.id, stored.tag]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
