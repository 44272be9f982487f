"""Choose an engine: the one that was named, or the first that works here; and say why."""

from __future__ import annotations

import os

from cwl_userspace.engines import probe
from cwl_userspace.errors import EngineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from cwl_userspace.engines.base import Engine
    from cwl_userspace.settings import Settings

AUTO = "auto"
# In the order of preference: the fastest and most isolated first.
NAMES = ("userns", "proot")


def make(name: str, settings: Settings, environ: Mapping[str, str], fresh: bool = False) -> Engine:
    """An engine by name, with what its probe found; ``fresh`` probes anew.

    Raise EngineError for a name that is no engine.
    """
    if fresh:
        probe.forget(settings.cache, name)
    if name == "userns":
        from cwl_userspace.engines.userns import Userns

        place = _existing(settings.store)
        facts = probe.remembered(settings.cache, name, place, lambda: probe.namespaces(place))
        return Userns(facts)
    if name == "proot":
        from cwl_userspace.engines.proot import Proot, find

        path = find(settings.proot, environ.get("PATH", ""))
        about = path or "none"
        return Proot(
            path, probe.remembered(settings.cache, name, about, lambda: Proot.examine(path))
        )
    raise EngineError(f"no engine {name!r}", f"known engines: {', '.join((AUTO, *NAMES))}")


def choose(wanted: str, settings: Settings, environ: Mapping[str, str]) -> Engine:
    """The engine to run with; raise EngineError with every reason if none works."""
    reasons = []
    for name in NAMES if wanted == AUTO else (wanted,):
        engine = make(name, settings, environ)
        reason = engine.unavailable()
        if reason is None:
            return engine
        reasons.append(f"{name}: {reason}")
    raise EngineError(
        "no engine works on this host: " + "; ".join(reasons), "see cwl-userspace doctor"
    )


def _existing(path: str) -> str:
    """The nearest directory that exists: before the first pull there is no store."""
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return path
