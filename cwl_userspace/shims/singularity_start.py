"""A container that is planned, and its start."""

from __future__ import annotations

import os

from cwl_userspace.engines.base import READ_ONLY_ROOT
from cwl_userspace.errors import EngineError, PromiseUnmet
from cwl_userspace.plan import plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cwl_userspace.cli.context import Context
    from cwl_userspace.cli.detach import Session
    from cwl_userspace.engines.base import Launch
    from cwl_userspace.spec import ContainerSpec, RunRequest
    from cwl_userspace.store.inuse import Use


_WITHOUT_MOUNTS = "proot"


class Container:
    """A request and the tree for it, joined by ``plan``.

    ``made`` are directories to be made; ``sandbox`` says that the tree is not the store's.
    """

    def __init__(self, context: Context, request: RunRequest, rootfs: str, use: Use | None) -> None:
        self.context = context
        self.request = request
        self.rootfs = rootfs
        self.use = use
        self.own_tree = False
        self.sandbox = False
        self.made: list[str] = []
        self.private = ""
        self.image = ""
        self.facts: dict[str, Any] = {}
        self.spec: ContainerSpec

    @property
    def own(self) -> str:
        """The path of a directory for what is the container's alone."""
        return f"{self.private}-own"

    def make(self) -> None:
        """Make what the specification speaks of."""
        for path in self.made:
            os.makedirs(path, mode=0o700)
        if self.sandbox:
            os.makedirs(os.path.dirname(self.spec.rootfs), mode=0o700)
            os.symlink(self.rootfs, self.spec.rootfs)

    def plan(self, keep_hostname: bool) -> None:
        """Make the specification; without ``keep_hostname`` there is no variable of that name."""
        from cwl_userspace import hostfacts
        from cwl_userspace.spec import ImageConfig

        request, context = self.request, self.context
        if request.gpus.any:
            from cwl_userspace import gpufacts
            from cwl_userspace.gpus import with_gpus

            request = with_gpus(request, ImageConfig(), gpufacts.driver(context.environ))
        host = hostfacts.host(context.environ, request.network_off)
        accounts = hostfacts.accounts(self.rootfs)
        # An engine covers the directory that the tree is in, which is a private one in the store.
        rootfs = f"{self.own}/sandbox/tree" if self.sandbox else self.rootfs
        self.spec = plan(request, ImageConfig(), rootfs, accounts, host, self.own_tree)
        if not keep_hostname:
            self.spec.environment.pop("HOSTNAME", None)


def _settle_sandbox(context: Context, container: Container, engine: str) -> list[str]:
    """Say that the root can be written, where it can, or do what the settings want.

    Without mounts a place is written or not by the name that it has on the host, and a sandbox may
    be below a directory that the container shares with that. Raise PromiseUnmet if it must not be.
    """
    shared = [mount.source for mount in container.spec.mounts if not mount.read_only]
    within = any(f"{container.rootfs}/".startswith(f"{source}/") for source in shared)
    asked = container.sandbox and container.spec.read_only
    if engine != _WITHOUT_MOUNTS or not (asked and within):
        return []
    if context.settings.on_unmet == "copy":
        return [READ_ONLY_ROOT]
    sentence = f"the engine {engine} lets the container write to the sandbox, which it shares"
    if context.settings.on_unmet == "refuse":
        raise PromiseUnmet(sentence, "move it out of the home and the working directory")
    context.log.say(sentence)
    return []


def start(context: Context, container: Container, session: Session | None = None) -> int:
    """Run a container to its end and return its exit code; nothing is left of it.

    A detached one, an instance, has a ``session``, and others can find and join it.
    """
    from cwl_userspace import runs
    from cwl_userspace.cli import unmet
    from cwl_userspace.cli.words import Words
    from cwl_userspace.engines.choose import choose
    from cwl_userspace.private import remove_private_directory

    state = context.settings.state
    identifier = session.identifier if session is not None else os.urandom(32).hex()
    try:
        container.make()
        engine = choose(context.engine, context.settings, context.environ)
        copied = [*unmet.settle(context, Words(), container.spec, engine, by_engine=True)]
        copied += _settle_sandbox(context, container, engine.name)
        launch = unmet.launch(container.spec, engine, container.private, copied)
        facts = {"name": "", "image": container.image, "engine": engine.name, **container.facts}
        if session is not None:
            facts["launch"] = launch.to_json()
        runs.register(state, identifier, {**facts, "limits": launch.limits})
        return _run(context, container, launch, session)
    finally:
        runs.unregister(state, identifier)
        if container.use is not None:
            container.use.end()
        remove_private_directory(container.private)
        remove_private_directory(container.own)


def _run(context: Context, container: Container, launch: Launch, session: Session | None) -> int:
    from cwl_userspace import process, runs
    from cwl_userspace.engines import probe

    def started(keeper: int) -> None:
        assert session is not None
        runs.change(context.settings.state, session.identifier, keeper=keeper)
        session.started()

    try:
        return process.run(
            launch,
            context.caller if session is None else 0,
            started=started if session is not None else None,
            say=context.log.say,
            use=container.use,
        )
    except EngineError:
        # What a probe found may have changed since: the next run looks again.
        probe.forget(context.settings.cache, launch.engine)
        raise
