"""Suggestions for misspelt names."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def close_matches(name: str, known: Iterable[str]) -> list[str]:
    """Known names that are similar to a name, ignoring case, most similar first."""
    originals = {candidate.casefold(): candidate for candidate in known}
    return [originals[match] for match in get_close_matches(name.casefold(), originals)]


def did_you_mean(names: Iterable[str], known: Iterable[str]) -> str:
    """The end of a message: known names that are similar to the first unknown one.

    Args:
        names: Names of the request.
        known: Accepted names.

    Returns:
        `` (did you mean 'B8' or 'B8A'?)``, or nothing if no name is similar.
    """
    accepted = list(known)
    unknown = next((name for name in names if name not in accepted), None)
    close = [] if unknown is None else close_matches(unknown, accepted)
    return f" (did you mean {' or '.join(map(repr, close))}?)" if close else ""
