"""What somebody may have meant by a name that is not known."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def close_matches(name: str, known: Iterable[str]) -> list[str]:
    """Those of some names that one resembles, in any case of letters, most alike first."""
    spelt = {one.casefold(): one for one in known}
    return [spelt[found] for found in get_close_matches(name.casefold(), spelt)]


def did_you_mean(names: Iterable[str], known: Iterable[str]) -> str:
    """The end of a message: which known names resemble the first that is not one of them.

    Args:
        names: What was given.
        known: What is accepted.

    Returns:
        `` (did you mean 'B8' or 'B8A'?)``, or nothing where no name resembles it.
    """
    accepted = list(known)
    unknown = next((name for name in names if name not in accepted), None)
    close = [] if unknown is None else close_matches(unknown, accepted)
    return f" (did you mean {' or '.join(map(repr, close))}?)" if close else ""
