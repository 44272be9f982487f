"""How many examples a property is tried with: few in CI, many for ``tox -e fuzz``, and fewer where
the same tests are run for each of many mutants."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# What the numbers are multiplied with.
FACTOR = "CWL_USERSPACE_FUZZ"


def examples(count: int) -> settings:
    """Settings for a property that is tried ``count`` times in CI, however long each takes."""
    factor = float(os.environ.get(FACTOR) or 1)
    return settings(
        max_examples=max(1, int(count * factor)),
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
