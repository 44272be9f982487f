"""How many examples a property is tried with: few in CI, and many for ``tox -e fuzz``."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# What the numbers are multiplied with.
FACTOR = "CWL_USERSPACE_FUZZ"


def examples(count: int) -> settings:
    """Settings for a property that is tried ``count`` times in CI, however long each takes."""
    factor = int(os.environ.get(FACTOR) or 1)
    return settings(
        max_examples=count * factor,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
