"""The variables with which other people's words are answered."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

# Where execvp(3) looks without one: Arvados and Nextflow may pass no variables at all.
_PATH = "/usr/local/bin:/usr/bin:/bin"


def variables_for(environ: Mapping[str, str], name: str = "") -> dict[str, str]:
    """The caller's, with a PATH where there is none; ``name`` says that a workflow engine calls."""
    found = {"PATH": _PATH, **environ}
    if name:
        found["CWL_USERSPACE_CALLER"] = name
    return found
