"""What somebody may have meant by a name that is not known."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def hint(names: Iterable[str], known: Iterable[str]) -> str:
    """The end of a message: which known names resemble the first that is not one of them.

    Args:
        names: What was given.
        known: What is accepted.

    Returns:
        `` (did you mean 'B8' or 'B8A'?)``, or nothing where no name resembles it.
    """
    spelt = {name.casefold(): name for name in known}
    unknown = next((name for name in names if name not in spelt.values()), None)
    if unknown is None:
        return ""
    close = [spelt[name] for name in get_close_matches(unknown.casefold(), spelt)]
    return f" (did you mean {' or '.join(map(repr, close))}?)" if close else ""
