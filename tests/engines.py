"""Which engines there are to be tested on this host."""

from __future__ import annotations

import functools
import os

from cwl_userspace.engines import choose
from cwl_userspace.settings import load
from tests.containers import ENGINES


@functools.cache
def working() -> list[str]:
    """The engines to test: those that are expected to work, and all others that do."""
    settings = load(os.environ)
    return [
        name
        for name in choose.names()
        if name in ENGINES or choose.make(name, settings, os.environ).unavailable() is None
    ]
