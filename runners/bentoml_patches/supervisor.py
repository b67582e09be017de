"""Patch: BentoML's supervisor replaces dead processes within a second, in containers, too.

Upstream checks every ten seconds, in which no request is answered. If BentoML finds that it runs in
a container, a dead process stops the others, or is not replaced if its runner has several.

Written for BentoML 1.4.39 and 1.4.40 with circus 0.19: `circus.arbiter.Arbiter.__init__` takes
`check_delay`, and BentoML reads the variable BENTOML_CONTAINERIZED.
"""

from __future__ import annotations

import os
import sys
from functools import wraps
from typing import Any

CHECK_DELAY_S = 1.0
"""Seconds between two checks for dead processes."""


def patch_supervisor() -> None:
    """Set the check interval, and hide the container from BentoML.

    Call it when the service is loaded. It has no effect in processes other than the supervisor.
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
