"""The page of all errors: what the code says when something is wrong, and what that is about."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping

from conformance.docs.messages import VALUE, Message, messages
from conformance.docs.rst import MADE, heading
from cwl_userspace import errors

# Where a kind of error is dealt with.
SEE = {
    "UsageError": "`the command line <cli.rst>`_",
    "SettingsError": "`settings <settings.rst>`_",
    "InvalidReference": "`the command line <cli.rst>`_",
    "ImageError": "`documents <documents.rst>`_, `singularity's files <singularity.rst>`_",
    "ImageNotFound": "`without the internet <offline.rst>`_",
    "Offline": "`without the internet <offline.rst>`_",
    "RegistryError": '`without the internet <offline.rst>`_, "Registries, logins, proxies"',
    "AuthenticationError": '`without the internet <offline.rst>`_, "Registries, logins, proxies"',
    "ContentMismatch": "`care of a store <care.rst>`_",
    "LayerError": '`architecture <architecture.rst>`_, "Images that mean harm"',
    "ContainerNotFound": "`containers that stay <containers.rst>`_",
    "StoreError": "`the store <store.rst>`_, `clusters <clusters.rst>`_",
    "EngineError": "`engines <engines.rst>`_, `for administrators <admin.rst>`_",
    "PromiseUnmet": "`what each engine promises <promises.rst>`_",
    "LimitReached": "`limits <limits.rst>`_",
    "DockerfileError": "`the command line <cli.rst>`_, ``build``",
    "CommandNotFound": "`the command line <cli.rst>`_, ``run``",
    "CommandNotExecutable": "`the command line <cli.rst>`_, ``run``",
    "UserspaceError": "`containers that stay <containers.rst>`_",
}
_HEAD = f"""\
Every error that has a sentence of its own, as the code has it, with the hint that follows it after
a semicolon; {VALUE} stands for what is put in when it happens. What to do about the likely ones is
told in `Troubleshooting <troubleshooting.rst>`_. An error begins with ``cwl-userspace:``, and its
exit code stands here; ``cwl-userspace --debug VERB`` shows where it comes from. What has no
sentence of its own (``no such file or directory: ...``) is the system's word for it.

Each can be linked to. Its anchor is made of its class and its words, ``x`` for what is put in:
``errors.html#imageerror-x-is-in-use-by-x``. The index has all of them.
"""


def page() -> str:
    """The whole page, one section for each class of the tree in ``errors``."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    found = listed()
    yield from heading("Every error", "=")
    yield MADE
    yield ""
    yield _HEAD
    for name in SEE:
        yield from _section(name, {key: one for key, one in found.items() if one[0].error == name})


def anchor(message: Message) -> str:
    """What an address of a message ends with; the same as long as its class and words are."""
    words = re.findall(f"[a-z0-9]+|{VALUE}+", message.text.lower())
    return "-".join([message.error.lower(), *("x" if VALUE in word else word for word in words)])


def listed() -> dict[str, list[Message]]:
    """The messages that have a sentence of their own, by anchor, one for each hint."""
    found: dict[str, list[Message]] = {}
    for message in messages():
        # What is only put in has its sentence elsewhere.
        if sum(map(str.isalpha, message.text)) > 3 and not message.text[0].isupper():
            alike = found.setdefault(anchor(message), [])
            if message.hint not in [one.hint for one in alike]:
                alike.append(message)
    return found


def _section(name: str, found: Mapping[str, list[Message]]) -> Iterator[str]:
    kind = getattr(errors, name)
    yield from heading(name, "-")
    yield f"{inspect.getdoc(kind)} Exit code {kind.exit_code}; see {SEE[name]}."
    yield ""
    for key in sorted(found, key=lambda key: found[key][0].text):
        yield f"* .. _{key}:"
        yield ""
        yield f"  {_literal(found[key][0].text)}"
        hints = [_literal(one.hint) for one in found[key] if one.hint.strip(VALUE)]
        if hints:
            yield f"  -- {', or '.join(hints)}"
    yield ""


def _literal(text: str) -> str:
    """As it is, on one line: literal text may not begin or end with a space, nor be empty."""
    return f"``{' '.join(re.sub(f'{VALUE}+', VALUE, text).split())}``"
