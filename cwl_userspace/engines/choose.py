"""Choose an engine: the one that was named, or the first that works here; and say why.

An engine is a module with a function ``engine(settings, environ) -> Engine``. Others can add one
through the entry point group ``cwl_userspace.engines``: its name, and such a function.
"""

from __future__ import annotations

from cwl_userspace.engines import probe
from cwl_userspace.errors import EngineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from cwl_userspace.engines.base import Engine
    from cwl_userspace.settings import Settings

AUTO = "auto"
GROUP = "cwl_userspace.engines"
# Each engine and its module.
ENGINES = {
    "userns": "userns",
    "chroot": "chroot",
    "bwrap": "bwrap",
    "proot": "proot",
}
# What ``auto`` tries, the fastest and most isolated first.
PREFERRED = ("userns", "chroot", "bwrap", "proot")


def names() -> tuple[str, ...]:
    """The names of all engines, those that others have added last."""
    return (*ENGINES, *(name for name in _added() if name not in ENGINES))


def make(name: str, settings: Settings, environ: Mapping[str, str], fresh: bool = False) -> Engine:
    """An engine by name, with what its probe found; ``fresh`` probes anew.

    Raise EngineError for a name that is no engine.
    """
    if fresh:
        probe.forget(settings.cache, name)
    if name in ENGINES:
        module = __import__(f"cwl_userspace.engines.{ENGINES[name]}", fromlist=["engine"])
        engine: Engine = module.engine(settings, environ)
        return engine
    added = _added()
    if name not in added:
        known = ", ".join((AUTO, *names()))
        raise EngineError(f"no engine {name!r}", f"known engines: {known}")
    try:
        engine = added[name].load()(settings, environ)
    except Exception as error:
        raise EngineError(
            f"the engine {name!r} of {added[name].value} cannot be loaded: {error}",
            "it comes from another package: ask its authors",
        ) from error
    return engine


def choose(wanted: str, settings: Settings, environ: Mapping[str, str]) -> Engine:
    """The engine to run with; raise EngineError with every reason if none works."""
    reasons = []
    for name in PREFERRED if wanted == AUTO else (wanted,):
        engine = make(name, settings, environ)
        reason = engine.unavailable()
        if reason is None:
            return engine
        reasons.append(f"{name}: {reason}")
    raise EngineError(
        "no engine works on this host: " + "; ".join(reasons), "see cwl-userspace doctor"
    )


def _added() -> Mapping[str, Any]:
    """Engines of other packages: looked for only where no engine of ours has the name."""
    from importlib.metadata import entry_points

    return {point.name: point for point in entry_points(group=GROUP)}
