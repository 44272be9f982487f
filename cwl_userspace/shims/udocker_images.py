"""udocker's commands for images and registries."""

from __future__ import annotations

import os
import sys
from itertools import islice

from cwl_userspace.cli import load
from cwl_userspace.cli.words import FLAG, VALUE, Option, parse
from cwl_userspace.errors import UsageError, UserspaceError
from cwl_userspace.reference import ImageReference, registry_of
from cwl_userspace.shims.udocker_words import (
    REGISTRY,
    image_name,
    known_container,
    only,
    our_id,
    quietly,
    tell,
    use_network,
)
from cwl_userspace.store import records
from cwl_userspace.store.protect import is_protected

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from cwl_userspace.cli.context import Context

IMAGE = "image:tag or repository/image:tag"
OPTIONS = {
    "search": (
        Option("-a", FLAG, "all of it, without a pause"),
        Option("--no-trunc", FLAG, "do not cut lines"),
        Option("--list-tags", FLAG, "the tags of a repository"),
        *REGISTRY,
    ),
    "pull": (*REGISTRY, Option("--platform", VALUE, "for another platform", "OS/ARCH")),
    "images": (
        Option("-l", FLAG, "also where its tree is"),
        Option("-p", FLAG, "also its platform"),
        Option("--no-trunc", FLAG, "accepted: nothing is cut"),
        Option("--all", FLAG, "accepted: all are listed"),
    ),
    "rmi": (Option("-f --force", FLAG, "even while containers run from it"),),
    "tag": (),
    "verify": (),
    "manifest": (*REGISTRY, Option("--platform", VALUE, "of another platform", "OS/ARCH")),
    "protect": (),
    "unprotect": (),
    "login": (
        Option("--username", VALUE, "the user name", "USER"),
        Option("--password", VALUE, "the password, which others can see here", "PASSWORD"),
        Option("--password-stdin", FLAG, "read the password from standard input"),
        Option("--registry", VALUE, "which registry; Docker Hub if not given", "URL"),
    ),
    "logout": (
        Option("-a --all", FLAG, "forget all logins"),
        Option("--registry", VALUE, "which registry; Docker Hub if not given", "URL"),
    ),
}
_ROW = "%-55.80s %8.8s %-70.70s %5.5s"
_WHOLE_ROW = "%-55s %8s %-70s %5s"


def search(context: Context, argv: Sequence[str]) -> int:
    """List what a registry has of a name, a screen at a time, or the tags of a repository."""
    from cwl_userspace.cli.search import repositories, tags_of

    words = parse("search", OPTIONS["search"], argv)
    text = image_name(only("search", words, "an expression"))
    use_network(context, words, "")
    if words.flag("list-tags"):
        print("".join(f"{tag}\n" for tag in tags_of(context, text)), end="")
        return 0
    index = "" if words.value("registry") else words.value("index")
    found = repositories(context, text, index)
    form = _WHOLE_ROW if words.flag("no-trunc") else _ROW
    pause = not words.flag("a") and os.isatty(0) and os.isatty(1)
    height = os.get_terminal_size(1).lines - 2 if pause else None
    print(form % ("NAME", "OFFICIAL", "DESCRIPTION", "STARS"))
    while page := list(islice(found, height)):
        for row in page:
            official = "[OK]" if row.official else "----"
            line = row.description.partition("\n")[0]
            plain = "".join(c for c in line if c.isprintable())
            print(form % (row.name, official, plain, row.stars))
        if height is None or len(page) < height:
            break
        print("[return or q to quit]", end="", flush=True)
        if sys.stdin.readline().strip().lower() in ("q", "e"):
            break
    return 0


def pull(context: Context, argv: Sequence[str]) -> int:
    """Fetch an image."""
    words = parse("pull", OPTIONS["pull"], argv)
    name = image_name(only("pull", words, IMAGE))
    use_network(context, words, name)
    platform = words.value("platform")
    code, said = quietly(context, "pull", [*(["--platform", platform] if platform else []), name])
    for line in said:
        tell(context, f"image ready: {line}")
    return code


def images(context: Context, argv: Sequence[str]) -> int:
    """List the images by their names."""
    words = parse("images", OPTIONS["images"], argv)
    if words.arguments:
        raise UsageError(f"syntax error at: {words.arguments[0]}", "images has no arguments")
    context.store.check()
    print("REPOSITORY")
    for key, identifier in records.names(context.store):
        record = records.by_id(context.store, identifier.removeprefix("sha256:"))
        mark = "P" if is_protected(context.store, key) else "."
        name = ImageReference.parse(key).familiar
        if words.flag("p"):
            kind = (record.document.get("os"), record.document.get("architecture"))
            platform = "/".join(str(part) for part in kind if part)
            print(f"{platform:<18.18} {mark} {name}")
        else:
            print(f"{name}    {mark}")
        if words.flag("l"):
            tree = context.store.tree(record.chain)
            print(f" {os.path.dirname(tree)}")
            print(f"    /{os.path.basename(tree)} ({_megabytes(record.size)} MB)")
    return 0


def _megabytes(size: int) -> int:
    return max(size >> 20, 1) if size else 0


def rmi(context: Context, argv: Sequence[str]) -> int:
    """Delete an image; its containers stay."""
    words = parse("rmi", OPTIONS["rmi"], argv)
    name = image_name(only("rmi", words, IMAGE))
    tell(context, f"deleting image: {name}")
    code, _ = quietly(context, "rmi", [*(["--force"] if words.flag("force") else []), name])
    return code


def tag(context: Context, argv: Sequence[str]) -> int:
    """Give an image one more name, which must be free."""
    words = parse("tag", OPTIONS["tag"], argv)
    if len(words.arguments) != 2:
        raise UsageError(f"must specify {IMAGE}, twice", "udocker tag SOURCE TARGET")
    source, target = map(image_name, words.arguments)
    refuse_known(context, target)
    return load("tag")(context, [source, target])


def refuse_known(context: Context, name: str) -> None:
    """Raise UsageError for a name that an image has: udocker replaces none."""
    key = records.key_of(ImageReference.parse(name))
    context.store.check()
    if any(known == key for known, _ in records.names(context.store)):
        raise UsageError(f"tag already exists in repo: {name}", f"first run udocker rmi {name}")


def verify(context: Context, argv: Sequence[str]) -> int:
    """Hold an image's files against what was recorded when it was fetched."""
    name = image_name(only("verify", parse("verify", OPTIONS["verify"], argv), IMAGE))
    tell(context, f"verifying: {name}")
    code, said = quietly(context, "verify", [name])
    for line in said:
        tell(context, line)
    if code:
        error = UserspaceError("image verification failure", f"udocker rmi {name}; udocker pull it")
        error.exit_code = 1
        raise error
    tell(context, "image Ok")
    return code


def manifest(context: Context, argv: Sequence[str]) -> int:
    """Print what a registry says of an image."""
    words = parse("manifest", OPTIONS["manifest"], argv)
    if len(words.arguments) != 2 or words.arguments[0] != "inspect":
        raise UsageError(f"must specify inspect and {IMAGE}", "udocker manifest inspect IMAGE")
    name = image_name(words.arguments[1])
    use_network(context, words, name)
    platform = words.value("platform")
    more = ["--platform", platform] if platform else []
    return load("manifest")(context, ["inspect", *more, name])


def protect(context: Context, argv: Sequence[str]) -> int:
    """Forbid that an image or a container is deleted."""
    return _protect(context, argv, "protect")


def unprotect(context: Context, argv: Sequence[str]) -> int:
    """Let it be deleted again."""
    return _protect(context, argv, "unprotect")


def _protect(context: Context, argv: Sequence[str], verb: str) -> int:
    text = only(verb, parse(verb, OPTIONS[verb], argv), f"a container or {IMAGE}")
    name = our_id(text) if known_container(context, text) else image_name(text)
    return quietly(context, verb, [name])[0]


def login(context: Context, argv: Sequence[str]) -> int:
    """Keep a login, once the registry has taken it."""
    words = parse("login", OPTIONS["login"], argv)
    wanted = [name for name in ("username", "password") if words.value(name)]
    given = [f"--{name}={words.value(name)}" for name in wanted]
    given += ["--password-stdin"] if words.flag("password-stdin") else []
    return quietly(context, "login", [*given, *_registry(words.value("registry"))])[0]


def logout(context: Context, argv: Sequence[str]) -> int:
    """Forget a login, or all; none is an error."""
    from cwl_userspace.image.credentials import Credentials
    from cwl_userspace.image.loginfile import forget, logins

    words = parse("logout", OPTIONS["logout"], argv)
    files = Credentials.from_environment(context.environ).files
    if words.flag("all"):
        wanted = sorted({host for path in files for host in logins(path)})
    else:
        wanted = [registry_of(name) for name in _registry(words.value("registry")) or ["docker.io"]]
    gone = [forget(path, host) for path in files for host in wanted]
    if not any(gone):
        raise UsageError("deleting credentials: there are none", "see udocker login --help")
    return 0


def _registry(url: str) -> list[str]:
    """The host that a URL names; none for Docker Hub's."""
    host = url.partition("://")[2] if "://" in url else url
    return [host.partition("/")[0]] if host else []
