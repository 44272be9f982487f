"""udocker's execution modes, and the engines of ours that are most like each."""

from __future__ import annotations

from cwl_userspace.engines.choose import choose
from cwl_userspace.errors import EngineError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from cwl_userspace.cli.context import Context

# The mode, the engine, and what is to be known of it.
MODES = {
    "P1": ("proot", "proot, with system calls filtered where it can"),
    "P2": ("proot", "proot; whether it filters is found out, as with P1"),
    "F1": ("fakechroot", "fakechroot"),
    "F2": ("fakechroot", "fakechroot, as with F1"),
    "F3": ("fakechroot", "fakechroot, as with F1: no program is patched"),
    "F4": ("fakechroot", "fakechroot, as with F1: no program is patched"),
    "R1": ("runc", "runc in name spaces of the user"),
    "R2": ("runc", "runc, as with R1; root is emulated without proot"),
    "R3": ("runc", "runc, as with R1; root is emulated without proot"),
    "S1": ("userns", "name spaces of the user, with no program of others: no singularity"),
}
DEFAULT = "UDOCKER_DEFAULT_EXECUTION_MODE"
# What each engine is called where no mode was chosen.
_CLOSEST = {"proot": "P1", "fakechroot": "F1", "runc": "R1", "crun": "R1"}


def check(mode: str) -> str:
    """The mode; raise UsageError if it is none."""
    if mode not in MODES:
        raise UsageError(f"invalid execmode: {mode}", f"expected one of {', '.join(MODES)}")
    return mode


def chosen(context: Context, marked: Mapping[str, Any]) -> str:
    """The mode that was set for a container or for all of them; empty if none was."""
    mode = str(marked.get("execmode") or context.environ.get(DEFAULT, ""))
    return check(mode) if mode else ""


def mode_of(context: Context, marked: Mapping[str, Any]) -> str:
    """The mode that a container is run in; of several that mean the same engine the first."""
    mode = chosen(context, marked)
    if mode:
        return mode
    try:
        engine = choose(context.engine, context.settings, context.environ).name
    except EngineError:
        return "??"
    return _CLOSEST.get(engine, "S1")


def use_mode(context: Context, marked: Mapping[str, Any]) -> None:
    """Have the context's engine be that of the mode that was set."""
    mode = chosen(context, marked)
    if mode:
        context.engine = MODES[mode][0]
