"""The options of ``exec``, ``run``, ``shell``, ``test`` and ``instance start``."""

from __future__ import annotations

from cwl_userspace.cli.words import FLAG, LIST, VALUE, Option, Words

MEANT = (
    Option("-B --bind", LIST, "bind mounts", "SRC[:DST[:ro]],..."),
    Option("--mount", LIST, "bind mount, as CSV", "type=bind,source=S,target=T[,readonly]"),
    Option("-H --home", VALUE, "the home, and its place inside", "SRC[:DST]"),
    Option("--no-home", FLAG, "do not show the home"),
    Option("-c --contain", FLAG, "an empty home, /tmp and /var/tmp in place of the host's"),
    Option("-C --containall", FLAG, "the same, with a clean environment"),
    Option("--compat", FLAG, "--containall, and a root whose changes are forgotten"),
    Option("-e --cleanenv", FLAG, "none of the host's variables"),
    Option("--env", LIST, "variables", "NAME=VALUE,..."),
    Option("--env-file", LIST, "variables from a file", "FILE"),
    Option("--cwd --pwd", VALUE, "working directory", "DIR"),
    Option("--no-mount", LIST, "what of the host is not shown", "home,tmp,cwd,..."),
    Option("-S --scratch", LIST, "an empty directory that is forgotten", "DIR"),
    Option("-W --workdir", VALUE, "where --contain and --scratch have their directories", "DIR"),
    Option("-n --net", FLAG, "a network of its own, see --network"),
    Option("--network", VALUE, "none: no network but loopback", "none"),
    Option("-w --writable", FLAG, "write to the sandbox itself"),
    Option("--writable-tmpfs", FLAG, "a root whose changes are forgotten"),
    Option("-f --fakeroot", FLAG, "be root inside"),
    Option("--hostname", VALUE, "name of the host inside", "NAME"),
    Option("--nv", FLAG, "show NVIDIA GPUs and the host's driver"),
    Option("--nvccli", FLAG, "the same as --nv"),
    Option("--rocm", FLAG, "show the devices of AMD's GPUs"),
    Option("--app", VALUE, "an application of the image", "NAME"),
    Option("--memory", VALUE, "limit the memory of all its processes together", "SIZE"),
    Option("--cpus", VALUE, "limit the processors' time", "N"),
    Option("--cpuset-cpus", VALUE, "run on these processors only", "LIST"),
    Option("-s --shell", VALUE, "the program of shell", "PROGRAM"),
    Option("--arch", VALUE, "take the image for another architecture", "ARCH"),
    Option("--platform", VALUE, "take the image for another platform", "OS/ARCH"),
    Option("-h --help", FLAG, ""),
)
# Always so, or without a meaning where there are no rights to give away.
_FLAGS = (
    "-u --userns, -p --pid, -i --ipc, --uts, --no-eval, --no-init, --no-umask, --no-privs, "
    "--keep-privs, --allow-setuid, --no-https --nohttps, --disable-cache, --underlay, "
    "--no-pid, --no-compat, --unsquash, --tmp-sandbox, --no-tmp-sandbox, --sharens, --no-oci, "
    "--oci, --docker-login, --no-setgroups, --oom-kill-disable, --ignore-fakeroot-command, "
    "--ignore-subuid, --ignore-userns, --passphrase"
)
_VALUES = (
    "--security, --add-caps, --drop-caps, --apply-cgroups, --network-args, --dns, --cpu-shares, "
    "--cpuset-mems, --memory-swap, --memory-reservation, --pids-limit, --blkio-weight, "
    "--blkio-weight-device, --docker-username, --docker-password, --docker-host, --authfile, "
    "--cdi-dirs, --runscript-timeout"
)
IGNORED = (
    *(Option(spellings, FLAG, "") for spellings in _FLAGS.split(", ")),
    *(Option(spellings, LIST, "") for spellings in _VALUES.split(", ")),
)
# Without these a program would not see what it was meant to see.
REFUSED = (
    (Option("-o --overlay", LIST, ""), "use --writable-tmpfs, or a sandbox with --writable"),
    (Option("--fusemount", LIST, ""), "mount it first, and use --bind"),
    (Option("--pem-path", VALUE, ""), "there are no encrypted images here"),
    (Option("--data", LIST, ""), "use --bind"),
)
OPTIONS = (*MEANT, *IGNORED, *(option for option, _ in REFUSED))
# Of the ignored ones those whose absence may be felt, and so are named in the log.
FELT = frozenset(
    "security add-caps drop-caps apply-cgroups network-args dns cpuset-mems pids-limit".split()
)


def platform_of(words: Words) -> str:
    """For which platform an image is wanted, by either of two options; empty for this host's."""
    arch = words.value("arch")
    return words.value("platform") or (f"linux/{arch}" if arch else "")
