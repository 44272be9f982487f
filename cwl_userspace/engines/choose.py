"""Choose an engine: the one that was named, or the first that works here; and say why.

An engine is a module with a function ``engine(settings, environ) -> Engine``. Others can add one
through the entry point group ``cwl_userspace.engines``: its name, and such a function.
"""

from __future__ import annotations

from cwl_userspace.engines import probe, promises
from cwl_userspace.errors import EngineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from cwl_userspace.engines.base import Engine
    from cwl_userspace.settings import Settings

AUTO = "auto"
GROUP = "cwl_userspace.engines"
# Each engine, its module, and the function there that makes it.
ENGINES = {
    "userns": ("userns", "engine"),
    "chroot": ("chroot", "engine"),
    "bwrap": ("bwrap", "engine"),
    "crun": ("runc", "crun_engine"),
    "runc": ("runc", "engine"),
    "charliecloud": ("charliecloud", "engine"),
    "proot": ("proot", "engine"),
    "fakechroot": ("fakechroot", "engine"),
}
# What one of another package must have; see docs/engines.rst.
_PARTS = ("name", "unavailable", "promises", "notes", "copies", "launch")
# What ``auto`` tries, the fastest and most isolated first.
PREFERRED = ("userns", "chroot", "bwrap", "crun", "runc", "charliecloud", "proot")


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
        place, function = ENGINES[name]
        module = __import__(f"cwl_userspace.engines.{place}", fromlist=[function])
        engine: Engine = getattr(module, function)(settings, environ)
        return engine
    added = _added()
    if name not in added:
        known = ", ".join((AUTO, *names()))
        raise EngineError(f"no engine {name!r}", f"known engines: {known}")
    return _load(name, added[name], settings, environ)


def choose(
    wanted: str, settings: Settings, environ: Mapping[str, str], promise: str = ""
) -> Engine:
    """The engine to run with; raise EngineError with every reason if none works.

    With a ``promise`` one that does not keep it is passed over.
    """
    reasons = []
    for name in PREFERRED if wanted == AUTO else (wanted,):
        engine = make(name, settings, environ)
        reason = engine.unavailable()
        if reason is None and promise and (lacking := promises.said(engine)[promise]):
            reason = f"it cannot promise {promise}: {lacking}"
        if reason is None:
            return engine
        reasons.append(f"{name}: {reason}")
    what = "no engine works on this host" if wanted == AUTO else "that engine does not work here"
    raise EngineError(f"{what}: {'; '.join(reasons)}", "see cwl-userspace doctor")


def _added() -> Mapping[str, Any]:
    """Engines of other packages: looked for only where no engine of ours has the name."""
    from importlib.metadata import entry_points

    return {point.name: point for point in entry_points(group=GROUP)}


def _load(name: str, point: Any, settings: Settings, environ: Mapping[str, str]) -> Engine:
    """An engine of another package; whatever is wrong with it is one sentence that names both."""
    try:
        engine: Engine = point.load()(settings, environ)
        missing = [part for part in _PARTS if not hasattr(engine, part)]
    except Exception as error:
        problem = " ".join(str(error).split()) or type(error).__name__
    else:
        if not missing:
            return engine
        problem = f"it has no {missing[0]!r}"
    package = point.dist.name if point.dist is not None else point.value
    raise EngineError(
        f"the engine {name!r} of the package {package!r} cannot be used: {problem}",
        "mend or remove that package, or choose another engine",
    )
