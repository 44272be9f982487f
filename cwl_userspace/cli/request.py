"""Make a request of the words of ``run``: each option is parsed once, here."""

from __future__ import annotations

import os
import stat

from cwl_userspace.cli.mounts import mount, volume
from cwl_userspace.errors import UsageError
from cwl_userspace.settings import size_in_bytes
from cwl_userspace.spec import Device, Gpus, Limits, RunRequest
from cwl_userspace.supervise import GRACE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cwl_userspace.cli.words import Words

# More than any kernel has: CONFIG_NR_CPUS.
_PROCESSORS = 1 << 16
# In bytes, by gethostname(2).
_LONGEST_HOSTNAME = 64
_PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy")


def request_of(words: Words, environ: Mapping[str, str]) -> RunRequest:
    """What the options and arguments of ``run`` ask for; raise UsageError for a bad value."""
    network = words.value("network", "host")
    if network not in ("none", "host", "bridge", "default"):
        raise UsageError(f"no network {network!r}", "expected none or host")
    entrypoint = words.values.get("entrypoint")
    mounts = [mount(text) for text in words.list("mount")]
    return RunRequest(
        argv=words.arguments[1:],
        mounts=mounts + [volume(text) for text in words.list("volume")],
        environment=list(environment_of(words, environ)),
        working_dir=words.value("workdir"),
        user=words.value("user"),
        entrypoint=None if entrypoint is None else ([entrypoint] if entrypoint else []),
        network_off=network == "none",
        read_only=words.flag("read-only"),
        add_hosts=[_added_host(text) for text in words.list("add-host")],
        hostname=_hostname(words.value("hostname"), words.typed("hostname")),
        shm_size=_size(words.value("shm-size", "64m"), "--shm-size"),
        limits=_limits(words),
        devices=[_device(text) for text in words.list("device")],
        gpus=_gpus(words.value("gpus")),
        tty=words.flag("tty"),
        root_size=_root_size(words),
    )


def check_ending(words: Words) -> None:
    """Raise UsageError for a bad value of what says how the container is to be ended."""
    stop_timeout(words)
    if words.value("stop-signal"):
        from cwl_userspace.cli.ending import signal

        signal(words.value("stop-signal"))


def stop_timeout(words: Words) -> float:
    """Seconds that a program has to end once it was asked to; raise UsageError for a bad value."""
    return seconds(words.value("stop-timeout", str(GRACE)), "--stop-timeout")


def seconds(text: str, option: str) -> float:
    """A time that an option was given; less than none means for ever, as in Docker."""
    try:
        found = float(text)
    except ValueError:
        found = float("nan")
    if found != found:  # which "nan" is, too
        raise UsageError(f"{option} is {text!r}", "expected a number of seconds")
    return found if found >= 0 else float("inf")


def environment_of(words: Words, environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """``-e K=V``; ``-e K`` takes the caller's value; files first, so that -e wins."""
    if words.flag("proxy-env"):
        for name in (*_PROXIES, *map(str.upper, _PROXIES)):
            if name in environ:
                yield name, environ[name]
    for path in words.list("env-file"):
        yield from _environment_file(path, environ)
    for text in words.list("env"):
        name, equals, value = text.partition("=")
        if not name:
            raise UsageError(f"{words.typed('env')} is {text!r}", "expected NAME=VALUE")
        if equals:
            yield name, value
        elif name in environ:
            yield name, environ[name]


def _environment_file(path: str, environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            lines = file.read().removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
    except OSError as error:
        raise UsageError(
            f"--env-file {path!r} cannot be read: {error.strerror}", "expected NAME=VALUE lines"
        ) from None
    for line in lines:
        name, equals, value = line.lstrip().partition("=")
        if not name or name.startswith("#"):
            continue
        if equals:
            yield name, value
        elif name in environ:
            yield name, environ[name]


def _hostname(text: str, option: str) -> str:
    """What the kernel takes and a line of /etc/hosts can hold. Docker asks for no more since names
    with underscores were refused for a while (moby #28985).
    """
    fits = len(os.fsencode(text)) <= _LONGEST_HOSTNAME
    if not fits or not text.isprintable() or " " in text or "#" in text:
        raise UsageError(
            f"{option} is {text!r}", f"expected a word of at most {_LONGEST_HOSTNAME} bytes"
        )
    return text


def _added_host(text: str) -> tuple[str, str]:
    """``NAME:ADDRESS``, or with ``=`` between them; an IPv6 address may be in brackets, as in
    Docker. ``host-gateway`` is the host, whose network is the container's own.
    """
    name, _, address = text.partition("=" if "=" in text else ":")
    address = address.removeprefix("[").removesuffix("]")
    address = "127.0.0.1" if address == "host-gateway" else address
    if not name or any(c.isspace() for c in text) or not _is_address(address):
        raise UsageError(f"--add-host is {text!r}", "expected NAME:ADDRESS")
    return name, address


def _is_address(text: str) -> bool:
    from _socket import AF_INET, AF_INET6, inet_pton

    try:
        return bool(inet_pton(AF_INET6 if ":" in text else AF_INET, text))
    except (OSError, ValueError):
        return False


def _size(text: str, option: str) -> int:
    try:
        return size_in_bytes(text)
    except (ValueError, OverflowError):
        raise UsageError(f"{option} is {text!r}", "expected a size such as 512m or 2g") from None


def _root_size(words: Words) -> int:
    """``--storage-opt size=SIZE``, the only one that Docker has for a container."""
    size = 0
    for text in words.list("storage-opt"):
        name, _, value = text.partition("=")
        if name != "size":
            raise UsageError(f"--storage-opt is {text!r}", "expected size=SIZE")
        size = _size(value, "--storage-opt size")
    return size


def _limits(words: Words) -> Limits:
    return Limits(
        memory=_size(words.value("memory", "0"), words.typed("memory")),
        cpus=_number(words.value("cpus", "0"), "--cpus"),
        cpuset=_processors(words.value("cpuset-cpus")),
        seconds=_number(words.value("timeout", "0"), "--timeout"),
    )


def _number(text: str, option: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise UsageError(f"{option} is {text!r}", "expected a number such as 1.5")
    return number


def _processors(text: str) -> list[int]:
    """``0-2,7`` as numbers (cpuset(7), List format)."""
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        first, dash, last = part.partition("-")
        numbers = (first, last if dash else first)
        if not all(number.isascii() and number.isdigit() for number in numbers):
            raise UsageError(f"--cpuset-cpus is {text!r}", "expected a list such as 0-2,7")
        low, high = map(int, numbers)
        if not low <= high < _PROCESSORS:
            raise UsageError(f"--cpuset-cpus is {text!r}", "expected a list such as 0-2,7")
        found.update(range(low, high + 1))
    return sorted(found)


def _gpus(text: str) -> Gpus:
    if not text:
        return Gpus()
    from cwl_userspace.cli.gpus import gpus

    return gpus(text)


def _device(text: str) -> Device:
    """``/dev/x[:/dev/y][:rwm]``; what may be done with it is for the host's modes to say."""
    source, *rest = text.split(":")
    if rest and rest[-1] and not rest[-1].strip("rwm"):
        rest.pop()
    target = "".join(rest) or source
    if not os.path.isabs(source) or len(rest) > 1 or not target.startswith("/dev/"):
        raise UsageError(f"--device is {text!r}", "expected /dev/NAME[:/dev/NAME][:rwm]")
    try:
        mode = os.stat(source).st_mode
    except OSError as error:
        raise UsageError(
            f"the device {source!r} cannot be used: {error.strerror}", "see ls -l /dev"
        ) from None
    if not (stat.S_ISCHR(mode) or stat.S_ISBLK(mode)):
        raise UsageError(f"{source!r} is no device", "give files and directories with --volume")
    return Device(os.path.realpath(source), target)
