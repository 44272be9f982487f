"""Start a container that is planned: with which engine, and what it must not be promised."""

from __future__ import annotations

import os

from cwl_userspace.errors import EngineError
from cwl_userspace.plan import plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cwl_userspace.cli.context import Context
    from cwl_userspace.spec import ContainerSpec, RunRequest
    from cwl_userspace.store.inuse import Use


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


def start(context: Context, container: Container) -> int:
    """Run a container to its end and return its exit code; nothing is left of it."""
    from cwl_userspace import process, runs
    from cwl_userspace.engines import probe
    from cwl_userspace.engines.choose import choose
    from cwl_userspace.engines.promises import lacking
    from cwl_userspace.private import remove_private_directory

    engine = choose(context.engine, context.settings, context.environ)
    for sentence in lacking(container.spec, engine).values():
        context.log.say(sentence)
    identifier = os.urandom(32).hex()
    facts = {"name": "", "image": container.image, "engine": engine.name, "limits": {}}
    try:
        container.make()
        launch = engine.launch(container.spec, container.private)
        runs.register(context.settings.state, identifier, {**facts, "limits": launch.limits})
        return process.run(
            launch,
            die_with_parent=True,
            say=context.log.say,
            use=container.use,
        )
    except EngineError:
        probe.forget(context.settings.cache, engine.name)
        raise
    finally:
        runs.unregister(context.settings.state, identifier)
        if container.use is not None:
            container.use.end()
        remove_private_directory(container.private)
        remove_private_directory(container.own)
