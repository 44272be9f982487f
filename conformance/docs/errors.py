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
"""


def page() -> str:
    """The whole page, one section for each class of the tree in ``errors``."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    grouped: dict[str, dict[str, Message]] = {}
    for message in messages():
        # What is only put in has its sentence elsewhere.
        if sum(map(str.isalpha, message.text)) > 3 and not message.text[0].isupper():
            grouped.setdefault(message.error, {}).setdefault(message.text, message)
    yield from heading("Every error", "=")
    yield MADE
    yield ""
    yield _HEAD
    for name in SEE:
        yield from _section(name, grouped.get(name, {}))


def _section(name: str, found: Mapping[str, Message]) -> Iterator[str]:
    kind = getattr(errors, name)
    yield from heading(name, "-")
    yield f"{inspect.getdoc(kind)} Exit code {kind.exit_code}; see {SEE[name]}."
    yield ""
    for text in sorted(found):
        yield f"* {_literal(text)}"
        if found[text].hint:
            yield f"  -- {_literal(found[text].hint)}"
    yield ""


def _literal(text: str) -> str:
    """As it is, on one line: literal text may not begin or end with a space, nor be empty."""
    return f"``{' '.join(re.sub(f'{VALUE}+', VALUE, text).split())}``"
