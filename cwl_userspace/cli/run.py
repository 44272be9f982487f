"""``run``: make a request of the words, join it with the image, and run it."""

from __future__ import annotations

import os

from cwl_userspace.cli.fetch import find_or_fetch
from cwl_userspace.cli.request import check_ending, request_of
from cwl_userspace.cli.run_options import OPTIONS
from cwl_userspace.cli.words import Words, parse
from cwl_userspace.errors import EngineError, StoreError, UsageError, UserspaceError
from cwl_userspace.kernel.ownership import is_ours
from cwl_userspace.stdin import open_closed_streams
from cwl_userspace.store.inuse import Use
from cwl_userspace.store.records import Record
from cwl_userspace.store.store import any_container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cwl_userspace.cli.context import Context
    from cwl_userspace.cli.detach import Session
    from cwl_userspace.containers import Container
    from cwl_userspace.spec import ContainerSpec, ImageConfig, RunRequest

# So often is an image fetched anew that somebody removes before it is known to be in use.
_REMOVALS = 5


def command(context: Context, argv: Sequence[str]) -> int:
    """Run a program in a container and return its exit code."""
    words = parse("run", OPTIONS, argv, options_end_at_argument=True)
    if words.flag("help"):
        from cwl_userspace.cli.help import show

        return show("run", "[OPTIONS] IMAGE|CONTAINER [COMMAND [ARG...]]", OPTIONS)
    if not words.arguments:
        raise UsageError("run needs an image", "for example: cwl-userspace run debian ls")
    return execute(context, words)


def execute(context: Context, words: Words, identifier: str = "", quiet: bool = False) -> int:
    """What ``run`` does with words that are read already; there is an image among them.

    ``identifier`` is the id of a container that is started again; with ``quiet`` the id of a
    detached one is not printed.
    """
    open_closed_streams()
    context.log.quiet = context.log.quiet or words.flag("quiet")
    request = request_of(words, context.environ)
    check_ending(words)  # a bad value is found before anything is fetched
    kept: Sequence[int] = ()
    if context.environ.get("CWL_USERSPACE_MPI"):
        from cwl_userspace.cli.mpi import with_launcher

        kept = with_launcher(request, context.environ)
    _check_cidfile(words)
    check_terminal(words)
    container = _container(context, words)
    if not words.flag("detach"):
        return _enter(context, words, request, container, kept, identifier)
    from cwl_userspace.cli.detach import detached

    def enter(session: Session) -> int:
        return _enter(context, words, request, container, kept, session.identifier, session)

    return detached(context, words, container, enter, identifier, quiet)


def _enter(
    context: Context,
    words: Words,
    request: RunRequest,
    container: Container | None,
    kept: Sequence[int],
    identifier: str,
    session: Session | None = None,
) -> int:
    """Run in a container of ``create``, or in an image; it is in use meanwhile.

    A run of an image has the id that is given, or a new one.
    """
    if container is not None:
        from cwl_userspace.containers import with_container

        request = with_container(request, container)
        rootfs = container.rootfs(context.store)
        use = Use(rootfs, container.id)
        use.begin()
        try:
            config = _config(words, container.config)
            spec = _spec(request, config, rootfs, context, own_tree=True)
            return _run(context, words, spec, container, use, kept, "", session)
        finally:
            use.end()
    record, rootfs, use = _image(context, words)
    try:
        spec = _spec(request, _config(words, record.config), rootfs, context)
        if spec.identity.emulate_root and not is_ours(rootfs):
            use.end()
            rootfs, use = _owned(context, record)
            spec = _spec(request, _config(words, record.config), rootfs, context)
        return _run(context, words, spec, record, use, kept, identifier, session)
    finally:
        use.end()


def _image(context: Context, words: Words) -> tuple[Record, str, Use]:
    """The image of the name, its tree, and that it is in use from now on."""
    for _ in range(_REMOVALS):
        record = find_or_fetch(context, words.arguments[0], words.value("platform"))
        try:
            rootfs = context.tree(record)
        except StoreError as error:
            _check_damaged(error)
            continue
        use = Use(rootfs, record.chain.hex, context.store.is_beneath(rootfs))
        if use.begin():
            return record, rootfs, use
    raise StoreError(
        f"{words.arguments[0]} is removed from the store again and again", "see who prunes it"
    )


def _check_damaged(error: StoreError) -> None:
    """Let an image be fetched anew whose only copy is damaged, and put aside; else raise again."""
    from cwl_userspace.store.packs import PackDamaged

    if not isinstance(error, PackDamaged):
        raise error


def _owned(context: Context, record: Record) -> tuple[str, Use]:
    """A tree of the caller's own, for a root that changes what is in it, and that it is in use."""
    from cwl_userspace.ownedtree import owned

    rootfs = owned(context.store, record, context.settings.cache, context.log.note)
    use = Use(rootfs, record.chain.hex)
    use.begin()
    return rootfs, use


def _container(context: Context, words: Words) -> Container | None:
    """The container of the name, which wins over an image of that name; None if there is none.

    A workflow engine names images: no tool is to run in, and write to, what a user made by hand.
    The flag ``made``, which no option gives, is that of ``start``: it names a container.
    """
    if words.value("rootfs"):
        from cwl_userspace.outside import container_at

        return container_at(words.value("rootfs"))
    if words.flag("made"):
        from cwl_userspace import containers

        return containers.find(context.store, words.arguments[0], by_name=False)
    if context.called_by_engine or is_cwltool(words) or not any_container(context.store):
        return None
    from cwl_userspace import containers
    from cwl_userspace.errors import ContainerNotFound

    try:
        return containers.find(context.store, words.arguments[0])
    except ContainerNotFound:
        return None


def _config(words: Words, config: ImageConfig) -> ImageConfig:
    """What is said of how to run it, or nothing where that is not to count."""
    if not words.flag("no-metadata"):
        return config
    from cwl_userspace.spec import ImageConfig

    return ImageConfig()


def _spec(
    request: RunRequest, config: ImageConfig, rootfs: str, context: Context, own_tree: bool = False
) -> ContainerSpec:
    from cwl_userspace import hostfacts
    from cwl_userspace.plan import plan

    if request.gpus.any:
        from cwl_userspace import gpufacts
        from cwl_userspace.gpus import with_gpus

        request = with_gpus(request, config, gpufacts.driver(context.environ))
    host = hostfacts.host(context.environ, request.network_off)
    return plan(request, config, rootfs, hostfacts.accounts(rootfs), host, own_tree)


def _run(
    context: Context,
    words: Words,
    spec: ContainerSpec,
    origin: Record | Container,
    use: Use,
    kept: Sequence[int],
    identifier: str,
    session: Session | None,
) -> int:
    from cwl_userspace import process
    from cwl_userspace.cli import unmet
    from cwl_userspace.cli.running import Running
    from cwl_userspace.engines import probe
    from cwl_userspace.engines.choose import choose
    from cwl_userspace.private import private_directory, remove_private_directory

    engine = choose(context.engine, context.settings, context.environ)
    by_engine = context.called_by_engine or is_cwltool(words)
    copied = unmet.settle(context, words, spec, engine, by_engine)
    identifier = identifier or os.urandom(32).hex()
    copies = engine.copies(spec) or bool(copied)
    private = private_directory(context.environ, identifier, large=copies)
    launch = unmet.launch(spec, engine, private, copied)
    if words.flag("print-command"):
        from cwl_userspace.cli.show import command_line

        os.write(1, os.fsencode(command_line(launch, private)) + b"\n")
        return 0
    running = Running(context, words, identifier, origin, launch, spec.working_dir, session)
    _write_cidfile(words, session.identifier if session is not None else identifier)
    usage = context.usage or process.Usage()
    code = 125
    try:
        running.begin()
        code = process.run(
            launch,
            context.caller if session is None and _die_with_parent(context, words) else 0,
            started=running.started if running.known else None,
            say=context.log.say,
            usage=usage,
            grace=running.grace,
            kept=kept,
            use=use,
        )
        return code
    except UserspaceError as error:
        code = error.exit_code
        running.failed(error)
        if isinstance(error, EngineError):
            # What a probe found may have changed since: the next run looks again.
            probe.forget(context.settings.cache, engine.name)
        raise
    finally:
        running.end(code)
        if usage.seconds:
            context.log.note(f"container {identifier[:12]} took {usage}")
        remove_private_directory(private)


def _die_with_parent(context: Context, words: Words) -> bool:
    if "die-with-parent" in words.flags:
        return words.flag("die-with-parent")
    return context.called_by_engine or is_cwltool(words)


def is_cwltool(words: Words) -> bool:
    """True for the words that cwltool writes: TMPDIR and HOME set, and HOME is where to work.

    It names images, and wants nothing kept.
    """
    given = words.list("env")
    home = f"HOME={words.value('workdir')}"
    return "TMPDIR=/tmp" in given and home in given and not words.flag("tty")


def check_terminal(words: Words) -> None:
    """Raise UsageError for a terminal that is to be joined with one that is not there."""
    if words.flag("tty") and words.flag("interactive") and not os.isatty(0):
        raise UsageError("-t with -i, but standard input is no terminal", "leave out -t")


def _check_cidfile(words: Words) -> None:
    path = words.value("cidfile")
    if path and os.path.exists(path):
        raise UsageError(f"--cidfile {path!r} exists", "remove it, or name another file")


def _write_cidfile(words: Words, identifier: str) -> None:
    path = words.value("cidfile")
    if path:
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise UsageError(
                f"--cidfile {path!r} cannot be written: {error.strerror}", "name another file"
            ) from None
        os.write(fd, identifier.encode())
        os.close(fd)
