"""What is executed: the words, or scripts that singularity keeps in an image below /.singularity.d.

Images that are made here of Docker's have none of them, and need no shell.
"""

from __future__ import annotations

import os

from cwl_userspace.errors import UsageError
from cwl_userspace.shims.singularity_image import METADATA

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cwl_userspace.cli.words import Words
    from cwl_userspace.shims.singularity_environment import Variables
    from cwl_userspace.spec import ImageConfig

_ENVIRONMENT = ("10-docker2singularity.sh", "90-environment.sh", "91-environment.sh")
_BIN_SH = "/bin/sh"
# Variables that were asked for go around the scripts under other names: no value is a word.
_FORCED = "__cwl_userspace_"
_SOURCE = 'for _f in {files}; do if [ -f "$_f" ]; then . "$_f"; fi; done; unset _f\n'
_KEEP = """\
[ $# -eq 0 ] || "$@" &
trap 'exit 0' TERM INT
while :; do sleep 3600 & wait $!; done
"""
_RESTORE = f"""\
for _n in ${_FORCED}names; do
    eval "export $_n=\\"\\${{{_FORCED}_$_n}}\\"; unset {_FORCED}_$_n"
done
unset _n {_FORCED}names
export PATH="${{{_FORCED}before:+${_FORCED}before:}}$PATH${{{_FORCED}after:+:${_FORCED}after}}"
unset {_FORCED}before {_FORCED}after
exec "$@"
"""


def command_of(
    verb: str,
    words: Words,
    rootfs: str,
    config: ImageConfig,
    found: Variables,
    home: str,
) -> tuple[list[str], dict[str, str]]:
    """The words to execute and the variables; raise UsageError where there is nothing to do."""
    app = words.value("app")
    top = f"/scif/apps/{app}/scif" if app else f"/{METADATA}"
    if app and ("/" in app or not _has(rootfs, f"/scif/apps/{app}")):
        raise UsageError(f"the image has no application {app!r}", "see inspect --list-apps")
    argv = _argv(verb, words, rootfs, config, top)
    scripts = [f"/{METADATA}/env/{name}" for name in _ENVIRONMENT]
    if app:
        scripts += [f"{top}/env/90-environment.sh", f"{top}/env/94-appsbase.sh"]
        found.prepended = ":".join(filter(None, (f"/scif/apps/{app}/bin", found.prepended)))
    scripts = [script for script in scripts if _has(rootfs, script)]
    if not scripts or not _has(rootfs, _BIN_SH):
        return argv, {**found.all(), "HOME": home}
    names = [name for name in found.forced if name.isascii() and name.isidentifier()]
    environment = {**found.plain, **found.forced, "HOME": home}
    environment |= {f"{_FORCED}_{name}": found.forced[name] for name in names}
    environment[f"{_FORCED}names"] = " ".join(names)
    environment[f"{_FORCED}before"] = found.prepended
    environment[f"{_FORCED}after"] = found.appended
    script = _SOURCE.format(files=" ".join(scripts)) + _RESTORE
    return [_BIN_SH, "-c", script, "sh", *argv], environment


def _argv(verb: str, words: Words, rootfs: str, config: ImageConfig, top: str) -> list[str]:
    given = words.arguments[1:]
    if verb == "exec":
        return list(given)
    if verb == "instance":
        return keeping(rootfs, given)
    if verb == "shell":
        chosen = words.value("shell")
        return [chosen or ("/bin/bash" if _has(rootfs, "/bin/bash") else _BIN_SH), *given]
    script = f"{top}/{'test' if verb == 'test' else 'runscript'}"
    if _has(rootfs, script):
        return [script, *given]
    if verb == "test":
        raise UsageError("the image has no test", "one comes of %test in a definition")
    argv = [*config.entrypoint, *(given or config.cmd)]
    return argv or ["/bin/bash" if _has(rootfs, "/bin/bash") else _BIN_SH]


def keeping(rootfs: str, arguments: Sequence[str]) -> list[str]:
    """What an instance runs: the image's script for it, if any, and something that waits."""
    if not _has(rootfs, _BIN_SH):
        raise UsageError(f"the image has no {_BIN_SH}, which keeps an instance", "use exec or run")
    script = f"/{METADATA}/startscript"
    own = [script, *arguments] if _has(rootfs, script) else []
    return [_BIN_SH, "-c", _KEEP, "sh", *own]


def _has(rootfs: str, path: str) -> bool:
    """True if there is something at a path; a link that leads anywhere is something."""
    return os.path.lexists(rootfs + path) or os.path.islink(rootfs + os.path.dirname(path))
