"""The packages that a choice of models and extras needs, at the versions of `constraints.txt`.

Requirements are followed as the installed packages state them; the versions that are installed
have no say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from geobento.schemas.errors import GeoBentoError

Requires = Callable[[str], list[str]]
"""Requirements of a package, as its metadata has them."""

PYTHON = "3.11"
"""Python of the image."""
BRINGS_ITS_OWN = "torch"
"""Pins its CUDA libraries itself, which another build of it does without."""


class LockError(GeoBentoError):
    """Packages cannot be told, or are not pinned."""


def installed(name: str) -> list[str]:
    """Requirements of an installed package.

    Raises:
        LockError: It is not installed.
    """
    try:
        return metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        raise LockError(
            f"{name} is needed and not installed here; run: make models, or make gee"
        ) from None


def pins(constraints: str) -> dict[str, str]:
    """Package -> version, from the text of a file of constraints."""
    lines = (line.partition("#")[0].strip() for line in constraints.splitlines())
    pairs = (line.partition("==") for line in lines if line)
    return {canonicalize_name(name): version for name, _, version in pairs}


def lock(
    roots: Iterable[str],
    versions: Mapping[str, str],
    requires: Requires = installed,
    python: str = PYTHON,
) -> list[str]:
    """Everything that `roots` need, as sorted lines of a requirements file.

    Args:
        roots: Requirements, as in `pyproject.toml`.
        versions: Package -> version.
        requires: Where requirements are looked up.
        python: Version that the packages are for, on Linux on x86-64.

    Raises:
        LockError: A package has no version.
    """
    environment: dict[str, str] = {
        **{"python_version": python, "python_full_version": f"{python}.99"},
        **{"os_name": "posix", "sys_platform": "linux", "platform_system": "Linux"},
        **{"platform_machine": "x86_64", "implementation_name": "cpython"},
        "platform_python_implementation": "CPython",
    }
    waiting = [("", "", Requirement(root)) for root in roots]
    done: set[tuple[str, str]] = set()
    while waiting:
        asking, under, wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        if wanted.marker and not wanted.marker.evaluate({**environment, "extra": under}):
            continue
        if name not in versions:
            if asking == BRINGS_ITS_OWN:
                continue
            raise LockError(f"constraints.txt has no version of {name}")
        for extra in {"", *wanted.extras}:
            if (name, extra) not in done:
                done.add((name, extra))
                waiting += [(name, extra, Requirement(line)) for line in requires(name)]
    return [f"{name}=={versions[name]}" for name in sorted({name for name, _ in done})]
