"""JavaScript expressions on a host without Node.js: evaluated in a container of ours.

cwl_utils would call ``docker``, in the same way: one process for many expressions, fed through a
pipe that stays open.
"""

from __future__ import annotations

import os
import shutil
import subprocess

from cwl_utils import sandboxjs
from cwl_utils.errors import JavascriptException

from cwl_userspace.cwl.acquire import has
from cwl_userspace.cwl.command import find_command
from cwl_userspace.cwl.store import store_of
from cwl_userspace.settings import load

IMAGE = "docker.io/library/node:alpine"
_NODES = ("nodejs", "node")


class ContainerNode(sandboxjs.NodeJSEngine):
    """cwl_utils' engine, with our command in place of Docker's."""

    def new_js_proc(
        self, js_text: str, force_docker_pull: bool = False, container_engine: str = "docker"
    ) -> subprocess.Popen[str]:
        """A process that evaluates what it reads; raise JavascriptException if there is none."""
        if container_engine != "docker" or any(map(shutil.which, _NODES)):
            return super().new_js_proc(js_text, force_docker_pull, container_engine)
        command = find_command()
        if force_docker_pull or not has(store_of(load(os.environ)), IMAGE):
            _pull(command)
        words = [command, "run", "--interactive", "--die-with-parent", "--net=none", "--read-only"]
        process = subprocess.Popen(
            [*words, IMAGE, "node", "--eval", js_text],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
        )
        self.processes_to_kill.append(process)
        return process


def _pull(command: str) -> None:
    """Without it cwl_utils would wait in vain for an answer, with its hands moving."""
    done = subprocess.run([command, "--quiet", "pull", IMAGE], capture_output=True, text=True)
    if done.returncode:
        raise JavascriptException(
            "JavaScript expressions need Node.js, there is no node on PATH, and its image cannot "
            f"be had: {done.stderr.strip().removeprefix('cwl-userspace: ')}; install Node.js, or "
            f"have {IMAGE} in the store first"
        )


def use_container() -> None:
    """Have all expressions of this process evaluated so."""
    sandboxjs.set_js_engine(ContainerNode())
