"""Run one step in a tree of its own: a process of ours, forked for it, is the supervisor."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from signal import SIGTERM
from typing import TYPE_CHECKING, NamedTuple

from cwl_userspace import hostfacts, process
from cwl_userspace.engines import probe
from cwl_userspace.engines.promises import unmet
from cwl_userspace.errors import EngineError, PromiseUnmet, UserspaceError
from cwl_userspace.plan import plan
from cwl_userspace.private import private_directory, remove_private_directory
from cwl_userspace.spec import ContainerSpec, ImageConfig, Mount, RunRequest

if TYPE_CHECKING:
    from cwl_userspace.engines.base import Engine

_HOSTNAME = "build"


class Command(NamedTuple):
    """What a step runs, and with what beside the image's own settings."""

    argv: Sequence[str]
    arguments: Mapping[str, str]
    mounts: Sequence[Mount]
    network_off: bool


class Runner:
    """Runs steps with an engine. ``output`` is a descriptor for what they print."""

    def __init__(
        self, engine: Engine, environ: Mapping[str, str], cache: str, output: int, warn: bool
    ) -> None:
        self._engine = engine
        self._environ = environ
        self._cache = cache
        self._output = output
        self._warn = warn

    def spec(self, command: Command, config: Mapping[str, object], rootfs: str) -> ContainerSpec:
        """The container of a step: root's unless the image names another user, its tree its own.

        Of the host's files it gets those that Docker gives a step: its own table of hosts, and
        the addresses of name servers.
        """
        image = ImageConfig.from_json(config)
        request = RunRequest(
            argv=command.argv,
            entrypoint=(),
            environment=list(command.arguments.items()),
            mounts=command.mounts,
            user=image.user or "root",
            network_off=command.network_off,
            hostname=_HOSTNAME,
        )
        host = hostfacts.host(self._environ, command.network_off)
        return plan(request, image, rootfs, hostfacts.accounts(rootfs), host, own_tree=True)

    def run(self, spec: ContainerSpec) -> int:
        """Run a container to its end; return its exit code. Raise PromiseUnmet or EngineError."""
        missing = unmet(spec, self._engine)
        if missing and not self._warn:
            raise PromiseUnmet("; ".join(missing), "choose another engine with --engine")
        report_in, report_out = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            os.close(report_in)
            self._supervise(spec, report_out)
        os.close(report_out)
        try:
            with open(report_in, "rb") as file:
                report = file.read()
        except BaseException:  # an interrupt, of which a terminal has told the child, too
            os.kill(pid, SIGTERM)
            raise
        finally:
            # The container ends before the tree that it runs in is taken away.
            _, status = os.waitpid(pid, 0)
        if report:
            message, hint = json.loads(report)
            raise EngineError(message, hint)
        return os.waitstatus_to_exitcode(status)

    def _supervise(self, spec: ContainerSpec, report: int) -> None:
        """The forked child: never returns. Engines may change it, so each step has another."""
        code = 125
        try:
            null = os.open(os.devnull, os.O_RDONLY)
            os.dup2(null, 0)
            os.dup2(self._output, 1)
            os.dup2(self._output, 2)
            code = self._launch(spec)
        except UserspaceError as error:
            if error.exit_code == 125:
                os.write(report, json.dumps([error.message, error.hint]).encode())
            else:
                os.write(2, f"{error}\n".encode("utf-8", "surrogateescape"))
                code = error.exit_code
        except BaseException as error:
            os.write(report, json.dumps([f"{type(error).__name__}: {error}", ""]).encode())
        finally:
            os._exit(code)

    def _launch(self, spec: ContainerSpec) -> int:
        private = private_directory(self._environ, os.urandom(16).hex(), large=False)
        try:
            return process.run(self._engine.launch(spec, private), caller=os.getppid())
        except EngineError:
            probe.forget(self._cache, self._engine.name)
            raise
        finally:
            remove_private_directory(private)
