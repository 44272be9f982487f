"""Compare what was asked for with what an engine promises."""

from __future__ import annotations

from cwl_userspace.engines.base import (
    EMULATED_ROOT,
    LIMITS,
    NETWORK_OFF,
    PROMISES,
    READ_ONLY_BINDS,
    READ_ONLY_ROOT,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cwl_userspace.engines.base import Engine
    from cwl_userspace.spec import ContainerSpec


def said(engine: Engine) -> dict[str, str]:
    """What an engine says of each promise; silence is no promise."""
    found = engine.promises()
    return {name: found.get(name, "the engine says nothing of it") for name in PROMISES}


def unmet(spec: ContainerSpec, engine: Engine) -> list[str]:
    """One sentence for each thing that was asked for and is not promised."""
    return list(lacking(spec, engine).values())


def lacking(spec: ContainerSpec, engine: Engine) -> dict[str, str]:
    """What was asked for and is not promised, each with a sentence that says why."""
    asked = (
        (NETWORK_OFF, spec.network_off),
        (READ_ONLY_BINDS, any(mount.read_only for mount in spec.mounts)),
        (READ_ONLY_ROOT, spec.read_only),
        (EMULATED_ROOT, spec.identity.emulate_root),
        (LIMITS, spec.limits.any),
    )
    kept = said(engine)
    return {
        promise: f"the engine {engine.name} cannot promise {promise}: {kept[promise]}"
        for promise, wanted in asked
        if wanted and kept[promise]
    }
