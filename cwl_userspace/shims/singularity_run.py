"""``exec``, ``run``, ``shell`` and ``test``: a program in a container, with singularity's rules.

The user keeps his own id, the host's directories and variables are there unless they are asked
away, the root is read-only. Images with scripts of singularity's own have them executed, too.
"""

from __future__ import annotations

import os

from cwl_userspace.cli.request import request_of
from cwl_userspace.cli.words import Words, parse
from cwl_userspace.errors import CommandNotFound, StoreError, UsageError
from cwl_userspace.kernel.ownership import is_ours
from cwl_userspace.settings import home_directory
from cwl_userspace.shims.singularity_environment import about, add_options, variables
from cwl_userspace.shims.singularity_image import INSTANCE, Sandbox, find, split
from cwl_userspace.shims.singularity_options import FELT, IGNORED, OPTIONS, REFUSED, platform_of
from cwl_userspace.shims.singularity_places import Places, places
from cwl_userspace.shims.singularity_scripts import command_of
from cwl_userspace.shims.singularity_start import Container, start
from cwl_userspace.spec import Device, Gpus, ImageConfig
from cwl_userspace.stdin import open_closed_streams
from cwl_userspace.store.inuse import Use

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cwl_userspace.cli.context import Context
    from cwl_userspace.spec import RunRequest
    from cwl_userspace.store.records import Record

_ROCM = ("/dev/kfd", "/dev/dri")
_REMOVALS = 5


def run(context: Context, argv: Sequence[str]) -> int:
    """What the image is for, with these arguments; return its exit code."""
    return _command(context, "run", argv)


def exec(context: Context, argv: Sequence[str]) -> int:
    """Run a program of the image and return its exit code."""
    return _command(context, "exec", argv)


def shell(context: Context, argv: Sequence[str]) -> int:
    """Run a shell of the image."""
    return _command(context, "shell", argv)


def test(context: Context, argv: Sequence[str]) -> int:
    """Run the image's own test."""
    return _command(context, "test", argv)


def _command(context: Context, verb: str, argv: Sequence[str]) -> int:
    words = read(context, verb, argv)
    if words.flag("help"):
        return show(verb)
    if not words.arguments or (verb == "exec" and len(words.arguments) < 2):
        raise UsageError(f"{verb} needs an image", f"for example: {verb} docker://debian ls")
    if split(words.arguments[0])[0] == INSTANCE:
        from cwl_userspace.shims.singularity_join import join

        return join(context, verb, words)
    open_closed_streams()
    container = prepared(context, verb, words)
    try:
        return start(context, container)
    except CommandNotFound as error:
        # cwltool looks for these words to see whether containers can be run at all.
        name = container.spec.argv[0]
        message = f'exec: "{name}": executable file not found in $PATH of the image'
        raise CommandNotFound(message, error.hint) from None


def read(context: Context, verb: str, argv: Sequence[str]) -> Words:
    """The words of a verb with what the variables add; raise UsageError for what is refused."""
    words = parse(verb, OPTIONS, argv, options_end_at_argument=True)
    add_options(words, OPTIONS, context.environ)
    for option, hint in REFUSED:
        if option.name in words.lists or option.name in words.values:
            raise UsageError(f"{verb} cannot do what --{option.name} asks for", hint)
    for option in IGNORED:
        if option.name in FELT and option.name in words.lists:
            context.log.say(f"--{option.name} has no effect here")
    for whole, parts in (
        ("compat", ("containall", "writable-tmpfs")),
        ("containall", ("contain", "cleanenv")),
        ("nvccli", ("nv",)),
    ):
        if words.flag(whole):
            words.flags.update(dict.fromkeys(parts, True))
    return words


def show(verb: str) -> int:
    """Print the options of a verb."""
    from cwl_userspace.cli.help import usage
    from cwl_userspace.cli.words import HelpAsked
    from cwl_userspace.shims.singularity_options import MEANT

    asked = HelpAsked(f"singularity {verb}", "[OPTIONS] IMAGE [ARGUMENT...]", MEANT)
    print(usage(asked).replace("usage: cwl-userspace ", "usage: "))
    return 0


def prepared(context: Context, verb: str, words: Words, identifier: str = "") -> Container:
    """A container that is ready to be started, and its tree is in use.

    ``identifier`` is that of an instance, which others may join.
    """
    image, rootfs, use = _image(context, words)
    try:
        return _container(context, verb, words, image, rootfs, use, identifier)
    except BaseException:
        if use is not None:
            use.end()
        raise


def _container(
    context: Context,
    verb: str,
    words: Words,
    image: Record | Sandbox,
    rootfs: str,
    use: Use | None,
    identifier: str,
) -> Container:
    """The words, the image and what of the host is to be seen, as a container that is planned."""
    config = ImageConfig.from_json(image.document.get("config") or {})
    if words.flag("writable") and not isinstance(image, Sandbox):
        raise UsageError("--writable is for a sandbox", "take --writable-tmpfs for an image file")
    from cwl_userspace.private import private_directory

    identifier = identifier or os.urandom(32).hex()
    private = private_directory(context.environ, identifier, large=False)
    found = places(words, rootfs, home_directory(context.environ), _cwd(), f"{private}-own")
    said = about(context, verb, words)
    all_variables = variables(words, context.environ, config.env, said)
    argv, environment = command_of(verb, words, rootfs, config, all_variables, found.home)
    request = _request(context, words, found).but(
        argv=argv, entrypoint=(), environment=list(environment.items())
    )
    container = Container(context, request, rootfs, use)
    container.own_tree = words.flag("writable")
    container.made = found.made
    container.sandbox = isinstance(image, Sandbox)
    container.private = private
    container.image = said["SINGULARITY_CONTAINER"]
    kept = [list(part) for part in (config.env, config.entrypoint, config.cmd)]
    container.facts = {"config": kept, "home": found.home}
    container.plan(keep_hostname="HOSTNAME" in environment)
    return container


def _image(context: Context, words: Words) -> tuple[Record | Sandbox, str, Use | None]:
    """The image, its tree, and that it is in use from now on; a sandbox is not the store's."""
    text = words.arguments[0]
    for _ in range(_REMOVALS):
        image = find(context, text, platform_of(words))
        if isinstance(image, Sandbox):
            return image, image.path, None
        rootfs = context.tree(image)
        if words.flag("fakeroot") and not is_ours(rootfs):
            from cwl_userspace.ownedtree import owned

            rootfs = owned(context.store, image, context.settings.cache, context.log.note)
        use = Use(rootfs, image.chain.hex, context.store.is_beneath(rootfs))
        if use.begin():
            return image, rootfs, use
    raise StoreError(f"{text} is removed from the store again and again", "see who prunes it")


def _request(context: Context, words: Words, found: Places) -> RunRequest:
    """The words of ours that mean the same."""
    ours = Words()
    network = words.value("network")
    if words.flag("net") and network not in ("none", "host"):
        asked = f"the network {network!r}" if network else "the network of --net"
        context.log.say(f"{asked} is the host's here; --network none is one of its own")
    ours.values["network"] = "none" if network == "none" else "host"
    ours.values["workdir"] = found.working_dir
    for name in ("hostname", "memory", "cpus", "cpuset-cpus"):
        if words.value(name):
            ours.values[name] = words.value(name)
    ours.values["user"] = "root" if words.flag("fakeroot") else ""
    ours.flags["read-only"] = not (words.flag("writable") or words.flag("writable-tmpfs"))
    request = request_of(ours, context.environ).but(mounts=found.mounts, tty=False)
    if words.flag("nv"):
        request = _with_gpus(context, request)
    if words.flag("rocm"):
        request = request.but(devices=_amd(context))
    return request


def _with_gpus(context: Context, request: RunRequest) -> RunRequest:
    from cwl_userspace import gpufacts

    if gpufacts.driver(context.environ).gpus:
        return request.but(gpus=Gpus(count=-1))
    context.log.say("--nv has no effect: this host has no GPU of NVIDIA's that can be used")
    return request


def _amd(context: Context) -> list[Device]:
    nodes = [path for path in _ROCM if os.path.exists(path)]
    if "/dev/dri" in nodes:
        nodes.remove("/dev/dri")
        names = (f"/dev/dri/{name}" for name in sorted(os.listdir("/dev/dri")))
        nodes += [path for path in names if not os.path.isdir(path)]
    if not nodes:
        context.log.say("--rocm has no effect: this host has no GPU of AMD's that can be used")
    return [Device(path, path) for path in nodes]


def _cwd() -> str:
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return "/"
