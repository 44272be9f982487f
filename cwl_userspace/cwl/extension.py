"""``cwltool-userspace``: cwltool, with every DockerRequirement run by cwl-userspace."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import cwltool.context
import cwltool.main
from cwltool.argparser import arg_parser

from cwl_userspace.cwl import javascript, starting
from cwl_userspace.cwl.tool import make_tool


def main(argv: Sequence[str] | None = None) -> int:
    """Run cwltool with all its own options; return its exit code."""
    cwltool.context.default_make_tool = make_tool
    javascript.use_container()
    words = list(sys.argv[1:] if argv is None else argv)
    with starting.launcher():
        return cwltool.main.run(_quick_path(words) + words)


def _quick_path(words: list[str]) -> list[str]:
    """An empty ``--user-space-docker-cmd`` keeps the Docker path, but spares every job the second
    that cwltool's monitor of containers sleeps; only where the user chose nothing himself."""
    from_environment = [w for w in os.environ.get("CWLTOOL_OPTIONS", "").split(" ") if w]
    known, _ = arg_parser().parse_known_args(from_environment + words)
    chosen = (
        known.user_space_docker_cmd is not None
        or known.singularity
        or known.podman
        or not known.use_container
        or known.record_container_id
        or known.cidfile_dir
    )
    return [] if chosen else ["--user-space-docker-cmd="]


if __name__ == "__main__":
    sys.exit(main())
