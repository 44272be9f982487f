"""The variables of a container by singularity's rules, and the variables that give it options."""

from __future__ import annotations

import os
import shlex

from cwl_userspace.cli.words import FLAG, LIST
from cwl_userspace.errors import UsageError
from cwl_userspace.plan import DEFAULT_PATH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cwl_userspace.cli.context import Context
    from cwl_userspace.cli.words import Option, Words

# Who comes later wins.
PREFIXES = ("SINGULARITY", "APPTAINER")
_TRUE = ("1", "true", "t", "yes", "y")
# Passed on even into a clean environment.
_ALWAYS = frozenset(
    name
    for word in ("ALL_PROXY", "FTP_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "TERM")
    for name in ((word, word.lower()) if word != "TERM" else (word,))
)
# The host's mean nothing inside; shells set the last two themselves.
_NEVER = frozenset(("PATH", "LD_LIBRARY_PATH", "HOME", "HOSTNAME", "PWD", "OLDPWD"))
_OURS = ("SINGULARITY", "APPTAINER", "CWL_USERSPACE")
_LIBRARIES = "/.singularity.d/libs"
_PROMPT = 'PS1="Singularity> "; unset PROMPT_COMMAND'


class Variables:
    """What a container gets: the image's and the host's variables, and those that are forced.

    ``forced`` win over what scripts of the image set; ``prepended`` and ``appended`` go around
    its PATH.
    """

    __slots__ = ("appended", "forced", "plain", "prepended")

    def __init__(self, plain: dict[str, str], forced: dict[str, str]) -> None:
        self.plain = plain
        self.forced = forced
        self.prepended = forced.pop("PREPEND_PATH", "")
        self.appended = forced.pop("APPEND_PATH", "")

    def all(self) -> dict[str, str]:
        """Everything in one table."""
        found = {**self.plain, **self.forced}
        around = (self.prepended, found.get("PATH", DEFAULT_PATH), self.appended)
        return {**found, "PATH": ":".join(filter(None, around))}


def own_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """The store is below ``SINGULARITY_CACHEDIR``, unless a setting of ours says where it is."""
    if environ.get("CWL_USERSPACE_HOME") or environ.get("CWL_USERSPACE_STORE_PATH"):
        return {}
    place = said(environ, "CACHEDIR")
    return {"CWL_USERSPACE_HOME": os.path.join(place, "cwl-userspace")} if place else {}


def said(environ: Mapping[str, str], name: str) -> str:
    """The value of ``APPTAINER_NAME`` or ``SINGULARITY_NAME``."""
    return next((environ[f"{p}_{name}"] for p in PREFIXES[::-1] if environ.get(f"{p}_{name}")), "")


def add_options(words: Words, options: Sequence[Option], environ: Mapping[str, str]) -> None:
    """Take options from ``SINGULARITY_OPTION``; what was given on the command line wins.

    Lists are joined: those of the variables come first.
    """
    for option in options:
        if option.name in ("env", "help"):
            continue
        value = said(environ, option.name.upper().replace("-", "_"))
        if option.name == "bind":
            value = value or said(environ, "BINDPATH")
        if not value:
            continue
        if option.kind == FLAG:
            words.flags.setdefault(option.name, value.lower() in _TRUE)
        elif option.kind == LIST:
            words.lists.setdefault(option.name, []).insert(0, value)
        else:
            words.values.setdefault(option.name, value)


def variables(
    words: Words, environ: Mapping[str, str], image: Sequence[str], about: Mapping[str, str]
) -> Variables:
    """The variables of a container; ``image`` are those of its configuration, ``about`` name it.

    The host's win over the image's, as they do in images that singularity has made of Docker's;
    PATH is the image's. Values are never evaluated. Raise UsageError for a bad option.
    """
    clean = words.flag("cleanenv")
    plain = dict(setting.partition("=")[::2] for setting in image if "=" in setting)
    libraries = plain.get("LD_LIBRARY_PATH", "")
    for name, value in environ.items():
        passed = name in _ALWAYS if clean else name not in _NEVER
        if passed and not name.startswith(_OURS) and not _is_pythons(name, environ):
            plain[name] = value
    if clean:
        plain["LANG"] = "C"
    plain["LD_LIBRARY_PATH"] = ":".join(filter(None, (libraries, _LIBRARIES)))
    plain.update({"PS1": "Singularity> ", "PROMPT_COMMAND": _PROMPT, **about})
    plain.setdefault("PATH", DEFAULT_PATH)
    return Variables(plain, _forced(words, environ))


def _is_pythons(name: str, environ: Mapping[str, str]) -> bool:
    """True for what our interpreter sets for itself where it finds no locale (PEP 538)."""
    return name == "LC_CTYPE" and not (environ.get("LANG") or environ.get("LC_ALL"))


def _forced(words: Words, environ: Mapping[str, str]) -> dict[str, str]:
    found = {}
    for prefix in PREFIXES:
        for name, value in environ.items():
            if name.startswith(f"{prefix}ENV_") and name != f"{prefix}ENV_":
                found[name.removeprefix(f"{prefix}ENV_")] = value
    for path in words.list("env-file"):
        found.update(_file(path))
    for text in words.list("env"):
        found.update(_settings(text))
    return found


def _settings(text: str) -> dict[str, str]:
    """``A=1,B=2``; what follows a comma and has no name belongs to the value before it."""
    found: dict[str, str] = {}
    last = ""
    for part in text.split(","):
        name, equals, value = part.partition("=")
        if equals and name.isidentifier():
            last = name
            found[name] = value
        elif last:
            found[last] += f",{part}"
        else:
            raise UsageError(f"--env is {text!r}", "expected NAME=VALUE")
    return found


def _file(path: str) -> dict[str, str]:
    """Lines ``[export ]NAME=VALUE`` with a shell's quotes; nothing in them is executed."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            pieces = shlex.split(file.read(), comments=True)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error).lower()
        message = f"--env-file {path!r} cannot be read: {reason}"
        raise UsageError(message, "expected NAME=VALUE lines") from None
    found = {}
    for piece in pieces:
        name, equals, value = piece.partition("=")
        if equals and name.isidentifier():
            found[name] = value
        elif piece != "export":
            raise UsageError(f"--env-file {path!r} has {piece!r:.60}", "expected NAME=VALUE lines")
    return found


def about(context: Context, verb: str, words: Words) -> dict[str, str]:
    """The variables by which a program knows that it is in a container, and in which."""
    text = words.arguments[0]
    said = {
        "CONTAINER": text if ":" in text else os.path.abspath(text),
        "NAME": os.path.basename(text.rstrip("/")),
        "COMMAND": verb,
        "ENVIRONMENT": "/.singularity.d/env/91-environment.sh",
        "BIND": ",".join(words.list("bind")),
    }
    if words.flag("no-eval"):
        said["NO_EVAL"] = "1"
    prefixes = ["SINGULARITY"]
    if context.environ["CWL_USERSPACE_CALLER"] == "apptainer":
        prefixes.append("APPTAINER")
    return {f"{prefix}_{name}": value for prefix in prefixes for name, value in said.items()}
