"""Join what was asked with what the image says into what an engine gets: Docker's rules, pure."""

from __future__ import annotations

import posixpath

from cwl_userspace.accounts import Accounts, caller, identify, with_identity
from cwl_userspace.errors import UsageError
from cwl_userspace.spec import ContainerSpec, Mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cwl_userspace.spec import Identity, ImageConfig, RunRequest

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_FORBIDDEN_TARGETS = ("/", "/proc")
# apt looks whether it has really become the user that it downloads as, and stops if not.
_APT_SANDBOX = ("/etc/apt/apt.conf.d/99cwl-userspace", 'APT::Sandbox::User "root";\n')


class Host:
    """What a container takes from the host: the caller, the name, the files that DNS needs."""

    __slots__ = ("gid", "hostname", "hosts", "nsswitch", "resolv_conf", "uid", "user")

    def __init__(
        self,
        uid: int,
        gid: int,
        user: str,
        hostname: str,
        resolv_conf: str | None,
        hosts: str | None,
        nsswitch: str | None,
    ) -> None:
        self.uid = uid
        self.gid = gid
        self.user = user
        self.hostname = hostname
        self.resolv_conf = resolv_conf
        self.hosts = hosts
        self.nsswitch = nsswitch


def plan(
    request: RunRequest,
    config: ImageConfig,
    rootfs: str,
    accounts: Accounts,
    host: Host,
    own_tree: bool = False,
) -> ContainerSpec:
    """The container for a request; raise UsageError for what has no meaning with this image.

    ``own_tree`` says that the tree at ``rootfs`` is the container's alone, and may be written.
    """
    user = request.user or config.user
    identity = identify(user, accounts) if user else caller(host.uid, host.gid, host.user, accounts)
    hostname = request.hostname or host.hostname
    mounts = _mounts(request.mounts)
    return ContainerSpec(
        rootfs=rootfs,
        argv=_argv(request, config),
        environment=_environment(request, config, identity, hostname),
        mounts=mounts,
        working_dir=posixpath.normpath(
            posixpath.join("/", request.working_dir or config.working_dir)
        ),
        identity=identity,
        network_off=request.network_off,
        read_only=request.read_only,
        hostname=hostname,
        files=[
            (path, text)
            for path, text in _files(request, accounts, identity, host, hostname, own_tree)
            if not _mounted(path, mounts)
        ],
        shm_size=request.shm_size,
        tty=request.tty,
        limits=request.limits,
        devices=request.devices,
        own_tree=own_tree,
        root_size=request.root_size,
    )


def _argv(request: RunRequest, config: ImageConfig) -> tuple[str, ...]:
    """ENTRYPOINT, then the command; CMD only if neither was given (config.md, "Cmd")."""
    if request.entrypoint is not None:
        argv = request.entrypoint + request.argv
    else:
        argv = config.entrypoint + (request.argv or config.cmd)
    if not argv or not argv[0]:
        raise UsageError("no command to run", "the image names none: give one after the image")
    return argv


def _environment(
    request: RunRequest, config: ImageConfig, identity: Identity, hostname: str
) -> Mapping[str, str]:
    """The image's variables and those asked for, with Docker's defaults for what neither sets."""
    environment = {"PATH": DEFAULT_PATH, "HOSTNAME": hostname, "HOME": identity.home}
    if request.tty:
        environment["TERM"] = "xterm"
    for setting in config.env:
        name, equals, value = setting.partition("=")
        if name and equals:
            environment[name] = value
    environment.update(request.environment)
    return environment


def _mounts(mounts: tuple[Mount, ...]) -> list[Mount]:
    """Mounts with clean absolute targets, parents before children; of equal ones the last."""
    found: dict[str, Mount] = {}
    for mount in mounts:
        target = "/" + posixpath.normpath(posixpath.join("/", mount.target)).lstrip("/")
        if target in _FORBIDDEN_TARGETS or target.startswith("/proc/"):
            raise UsageError(
                f"cannot mount {mount.source!r} at {target!r}", "choose a place below the root"
            )
        found.pop(target, None)
        found[target] = Mount(mount.source, target, mount.read_only)
    return sorted(found.values(), key=lambda mount: mount.target.count("/"))


def _files(
    request: RunRequest,
    accounts: Accounts,
    identity: Identity,
    host: Host,
    hostname: str,
    own_tree: bool,
) -> list[tuple[str, str]]:
    """What is seen in place of the tree's own."""
    files = []
    wanted = with_identity(accounts, identity)
    if wanted.passwd != accounts.passwd:
        files.append(("/etc/passwd", wanted.passwd))
    if wanted.group != accounts.group:
        files.append(("/etc/group", wanted.group))
    files.append(("/etc/hosts", _hosts(request, host, hostname)))
    if not request.network_off:
        if host.resolv_conf is not None:
            files.append(("/etc/resolv.conf", host.resolv_conf))
        # Package managers replace this one, and could not in a tree where it is mounted upon.
        if host.nsswitch is not None and not own_tree:
            files.append(("/etc/nsswitch.conf", host.nsswitch))
    if identity.emulate_root and accounts.has_apt:
        files.append(_APT_SANDBOX)
    return files


def _hosts(request: RunRequest, host: Host, hostname: str) -> str:
    """The host's table where its network is used, and always this host and what was added."""
    text = "" if request.network_off or host.hosts is None else host.hosts.rstrip("\n") + "\n"
    known = {word for line in text.splitlines() for word in line.partition("#")[0].split()[1:]}
    if "localhost" not in known:
        text += "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
    if hostname not in known:
        text += f"127.0.0.1\t{hostname}\n"
    return text + "".join(f"{address}\t{name}\n" for name, address in request.add_hosts)


def _mounted(path: str, mounts: Sequence[Mount]) -> bool:
    """True for a place that is mounted upon, or below one: it is the host's, and nothing of ours
    is written there.
    """
    return any(f"{path}/".startswith(f"{mount.target}/") for mount in mounts)
