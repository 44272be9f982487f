"""``toil-cwl-userspace``: toil-cwl-runner, with every DockerRequirement run by cwl-userspace.

Only this module can be imported where Toil is not installed.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from cwl_utils.errors import JavascriptException
from cwltool.errors import WorkflowException
from cwltool.loghandler import _logger


def main(argv: Sequence[str] | None = None) -> int:
    """Run toil-cwl-runner with all its own options; return its exit code."""
    try:
        from toil.cwl import cwltoil

        from cwl_userspace.cwl.toil_tool import Leader
    except ModuleNotFoundError as error:
        sys.stderr.write(
            f"toil-cwl-userspace: Toil is not installed with {sys.executable} (no module"
            f" {error.name}); pip install 'cwl-userspace[toil]'\n"
        )
        return 1
    words = list(sys.argv[1:] if argv is None else argv)
    Leader().take_over()
    try:
        code: int = cwltoil.main(_quick_path(cwltoil.get_options(words)) + words)
    except (WorkflowException, JavascriptException) as error:
        _logger.error("%s", error)
        return 1
    return code


def _quick_path(options: object) -> list[str]:
    """An empty ``--user-space-docker-cmd`` keeps the Docker path, but spares every job the second
    that cwltool's monitor of containers sleeps; only where the user chose nothing himself."""
    chosen = (
        getattr(options, "user_space_docker_cmd", None) is not None
        or getattr(options, "singularity", False)
        or getattr(options, "podman", False)
        or getattr(options, "no_container", False)
    )
    return [] if chosen else ["--user-space-docker-cmd="]


if __name__ == "__main__":
    sys.exit(main())
