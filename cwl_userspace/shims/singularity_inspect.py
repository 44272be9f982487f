"""``inspect``: what an image says of itself."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

from cwl_userspace.cli.context import Context
from cwl_userspace.cli.words import FLAG, VALUE, Option, parse
from cwl_userspace.errors import UsageError
from cwl_userspace.image.confine import Missing, Root, split
from cwl_userspace.shims.singularity_image import METADATA, Sandbox, find
from cwl_userspace.shims.singularity_sandbox import environment_of, runscript_of

OPTIONS = (
    Option("-j --json", FLAG, "as JSON"),
    Option("-a --all", FLAG, "everything, as JSON"),
    Option("-l --labels", FLAG, "the labels; what is shown if nothing is asked for"),
    Option("-r --runscript", FLAG, "what run executes"),
    Option("-s --startscript", FLAG, "what instance start executes"),
    Option("-t --test", FLAG, "what test executes"),
    Option("-e --environment", FLAG, "the scripts that set variables"),
    Option("-d --deffile", FLAG, "the definition that it was built from"),
    Option("-H --helpfile", FLAG, "the help text"),
    Option("--list-apps", FLAG, "the applications"),
    Option("--app", VALUE, "of this application", "NAME"),
    Option("-h --help", FLAG, ""),
)
# What may be shown, by the names of the options, and the files that it is in.
_FILES = {
    "runscript": "runscript",
    "startscript": "startscript",
    "test": "test",
    "deffile": "Singularity",
    "helpfile": "runscript.help",
}
_LARGEST = 4 << 20


def inspect(context: Context, argv: Sequence[str]) -> int:
    """Print what was asked for, the labels if nothing was."""
    words = parse("inspect", OPTIONS, argv)
    if words.flag("help") or len(words.arguments) != 1:
        raise UsageError("inspect needs one image", "inspect [--json] [--labels] IMAGE")
    image = find(context, words.arguments[0])
    rootfs = image.path if isinstance(image, Sandbox) else context.stored_tree(image)
    tree = _Tree(rootfs, image.document.get("config") or {}, words.value("app"))
    asked = [name for name in ("labels", *_FILES, "environment") if words.flag(name)]
    if words.flag("list-apps"):
        print("\n".join(tree.apps()))
        return 0
    everything = words.flag("all")
    shown = tree.everything() if everything else tree.shown(asked or ["labels"])
    if words.flag("json") or everything:
        document = {"data": {"attributes": shown}, "type": "container"}
        print(json.dumps(document, indent=1, sort_keys=True))
    else:
        print("\n".join(_plain(shown)))
    return 0


class _Tree:
    """The files of an image that speak of it; where there are none its configuration does."""

    def __init__(self, rootfs: str, config: dict[str, Any], app: str) -> None:
        self._rootfs = rootfs
        self._config = config
        self._top = f"scif/apps/{app}/scif" if app else METADATA

    def shown(self, names: Sequence[str]) -> dict[str, Any]:
        """What the image says under these names."""
        found: dict[str, Any] = {}
        for name in names:
            value = self._value(name)
            if value:
                found[name] = value
        if "labels" in names:
            found.setdefault("labels", {})
        return found

    def everything(self) -> dict[str, Any]:
        """All that there is to say."""
        return self.shown(["labels", *_FILES, "environment"])

    def apps(self) -> list[str]:
        """The names of the applications."""
        return sorted(self._names("scif/apps"))

    def _value(self, name: str) -> Any:
        if name == "labels":
            return self._labels()
        if name == "environment":
            return self._environment()
        text = self._text(f"{self._top}/{_FILES[name]}")
        if not text and name == "runscript" and self._top == METADATA:
            return runscript_of(self._config)
        return text

    def _labels(self) -> dict[str, str]:
        text = self._text(f"{self._top}/labels.json")
        try:
            found = json.loads(text) if text else {}
        except ValueError:
            found = {}
        labels = {**(self._config.get("Labels") or {}), **(found if type(found) is dict else {})}
        return {str(name): str(value) for name, value in labels.items()}

    def _environment(self) -> dict[str, str]:
        found = {}
        for name in sorted(self._names(f"{self._top}/env")):
            if name.endswith(".sh"):
                found[f"/{self._top}/env/{name}"] = self._text(f"{self._top}/env/{name}")
        if not found and self._config.get("Env"):
            path = f"/{METADATA}/env/10-docker2singularity.sh"
            found[path] = environment_of(self._config)
        return found

    def _names(self, path: str) -> Iterator[str]:
        root = Root(self._rootfs)
        try:
            walked = root.open_directory(split(os.fsencode(path)), None)
            try:
                fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=walked.fd)
            finally:
                walked.close()
            try:
                yield from os.listdir(fd)
            finally:
                os.close(fd)
        except (Missing, OSError):
            return
        finally:
            root.close()

    def _text(self, path: str) -> str:
        """The text of a file, found without leaving the tree; nothing if it is not there."""
        root = Root(self._rootfs)
        above, name = os.path.split(path)
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            walked = root.open_directory(split(os.fsencode(above)), None)
            try:
                fd = os.open(name, flags, dir_fd=walked.fd)
            finally:
                walked.close()
            with open(fd, encoding="utf-8", errors="replace") as file:
                return file.read(_LARGEST)
        except (Missing, OSError):
            return ""
        finally:
            root.close()


def _plain(shown: dict[str, Any]) -> Iterator[str]:
    for value in shown.values():
        if isinstance(value, dict):
            for name, text in sorted(value.items()):
                yield f"{name}: {text}" if "\n" not in text else f"=== {name} ===\n{text}"
        else:
            yield str(value)
