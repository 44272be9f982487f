"""What is said of a run while it lasts, and, where it is to be known, after its end."""

from __future__ import annotations

import os

from cwl_userspace import runs
from cwl_userspace.cli.request import stop_timeout
from cwl_userspace.errors import UsageError
from cwl_userspace.store.records import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cwl_userspace.cli.context import Context
    from cwl_userspace.cli.detach import Session
    from cwl_userspace.cli.words import Words
    from cwl_userspace.containers import Container
    from cwl_userspace.engines.base import Launch
    from cwl_userspace.errors import UserspaceError

# Who stops a detached container says how long it may take.
_NO_END = float("inf")


class Running:
    """One run. ``known`` says that somebody may ask for it by a name, or that it is detached: of
    others, such as a workflow's jobs, it is not written down what they are started with.

    The flag ``keep`` of its words, which no option gives, is that of ``run`` by the name docker:
    how it ends is to be known without ``-d``, too.
    """

    def __init__(
        self,
        context: Context,
        words: Words,
        identifier: str,
        origin: Record | Container,
        launch: Launch,
        working_dir: str,
        session: Session | None,
    ) -> None:
        self._context = context
        self._state = context.settings.state
        self._identifier = identifier
        self._session = session
        self._began = False
        self._forwarder = 0
        self._ports: list[Any] = []
        self._container = None if isinstance(origin, Record) else origin
        self.grace = stop_timeout(words)
        if session is not None and "stop-timeout" not in words.values:
            self.grace = _NO_END
        if words.value("restart", "no") != "no":
            raise UsageError(
                f"--restart is {words.value('restart')!r}",
                "expected no: nothing here is started again by itself",
            )
        if words.list("publish"):
            self._publish(words)
        name = words.value("name")
        self._name = name
        image = str(origin.id) if isinstance(origin, Record) else origin.image
        self._facts: dict[str, Any] = {"name": name, "image": image, "engine": launch.engine}
        self._facts["limits"] = launch.limits
        if self._container is not None:
            self._facts["container"] = self._container.id
            self._facts["name"] = name or self._container.name
        by_itself = session is not None or words.flag("keep")
        self._kept = self._container is not None or (by_itself and not words.flag("rm"))
        self.known = by_itself or bool(self._facts["name"])
        if self.known:
            self._facts |= self._more(words, launch, origin)
            self._facts["working_dir"] = working_dir

    def _more(self, words: Words, launch: Launch, origin: Record | Container) -> dict[str, Any]:
        document = origin.document
        if isinstance(origin, Record):
            document = document.get("config") or {}
        return {
            "kept": self._kept,
            "detached": self._session is not None,
            "argv": list(launch.script["argv"] if launch.script else launch.argv),
            "words": words.to_json(),
            "cwd": os.getcwd(),
            "ports": [str(port) for port in self._ports],
            "stop": words.value("stop-signal") or str(document.get("StopSignal") or ""),
            "stop_timeout": words.values.get("stop-timeout"),
            "launch": launch.to_json(),
        }

    def _publish(self, words: Words) -> None:
        from cwl_userspace.forward import parse

        option = words.typed("publish")
        if words.value("network") == "none":
            raise UsageError(f"{option} needs a network, and it is off", "leave out one of the two")
        self._ports = [port for text in words.list("publish") for port in parse(text, option)]

    def begin(self) -> None:
        """Say that it runs, under a name that nothing else has; raise UsageError if one has it."""
        if self._ports:
            from cwl_userspace import forward

            self._forwarder = forward.start(self._ports)
        if self._name:
            from cwl_userspace.cli.subjects import claimed

            with claimed(self._context, self._name, but=self._identifier):
                runs.register(self._state, self._identifier, self._facts)
        else:
            runs.register(self._state, self._identifier, self._facts)
        if self._container is not None and self._container.of_store:
            self._still_there(self._container)

    def _still_there(self, container: Container) -> None:
        """Raise ContainerNotFound if it was removed before it was known that we are to run."""
        from cwl_userspace import containers

        if containers.find(self._context.store, container.name).id != container.id:
            raise UsageError(f"the container {container.name!r} was replaced", "run that one again")

    def started(self, keeper: int) -> None:
        """The program has been executed, and this process keeps it."""
        self._began = True
        try:
            runs.change(self._state, self._identifier, keeper=keeper)
        except OSError as error:
            self._context.log.note(f"exec will not work: {error}")
        if self._session is not None:
            self._session.started()

    def failed(self, error: UserspaceError) -> None:
        """Something of ours went wrong."""
        if self._session is not None:
            self._session.failed(error)

    def end(self, code: int) -> None:
        """It has ended, with this exit code."""
        if self._session is not None:
            self._session.printed()
        if self._kept and (self._began or self._session is None):
            record = runs.read(self._state, self._identifier)
            if record is not None:
                runs.has_ended(self._state, record, code)
        elif self._session is not None:
            from cwl_userspace import journal

            journal.remove(self._state, self._session.identifier)
        runs.unregister(self._state, self._identifier)
        if self._forwarder:
            from cwl_userspace import forward

            forward.stop(self._forwarder)
