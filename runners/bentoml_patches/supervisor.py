"""How BentoML's supervisor treats processes: what they are told, and what if they die."""

from __future__ import annotations

import os
import sys
from functools import wraps
from typing import Any

CHECK_DELAY_S = 1.0
"""The supervisor looks so often whether a process has died; by itself BentoML has it look every
ten seconds, in which no request is answered."""


def patch_supervisor() -> None:
    """Have processes that die replaced, soon, and in containers too.

    Where BentoML finds that it runs in a container, a process that dies takes the others with it,
    or is missed for ever where its runner has several. To be called when the service is loaded;
    in other processes than the supervisor it does nothing.
    """
    os.environ.pop("BENTOML_CONTAINERIZED", None)
    loaded = sys.modules.get("circus.arbiter")
    if loaded is None or hasattr(loaded.Arbiter.__init__, "__wrapped__"):
        return
    original = loaded.Arbiter.__init__

    @wraps(original)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **{**kwargs, "check_delay": CHECK_DELAY_S})

    loaded.Arbiter.__init__ = init
