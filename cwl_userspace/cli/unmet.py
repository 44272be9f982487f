"""What an engine cannot promise: refused, said, or made up for with copies."""

from __future__ import annotations

from cwl_userspace.errors import PromiseUnmet, UsageError
from cwl_userspace.settings import ON_UNMET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cwl_userspace.cli.context import Context
    from cwl_userspace.cli.words import Words
    from cwl_userspace.engines.base import Engine, Launch
    from cwl_userspace.spec import ContainerSpec


def launch(spec: ContainerSpec, engine: Engine, private: str, copied: Sequence[str]) -> Launch:
    """How to start the container, with copies of what its engine cannot keep from it."""
    if not copied:
        return engine.launch(spec, private)
    from cwl_userspace.private import remove_private_directory
    from cwl_userspace.staging import stage

    try:
        return engine.launch(stage(spec, engine, private, copied), private)
    except BaseException:
        remove_private_directory(private)
        raise


def settle(
    context: Context,
    words: Words,
    spec: ContainerSpec,
    engine: Engine,
    by_engine: bool,
) -> Sequence[str]:
    """Refuse what cannot be promised, or say so and go on, as the user or the caller wants.

    Return the promises that copies are to stand in for.
    """
    from cwl_userspace.engines.promises import lacking

    found = lacking(spec, engine)
    if not found:
        return ()
    policy = words.value("on-unmet") or context.settings.on_unmet
    if policy and policy not in ON_UNMET:
        raise UsageError(f"--on-unmet is {policy!r}", f"expected one of {', '.join(ON_UNMET)}")
    copied = _copied(words, found) if policy == "copy" else ()
    others = [sentence for promise, sentence in found.items() if promise not in copied]
    if others and (policy in ("refuse", "copy") or (not policy and not by_engine)):
        raise PromiseUnmet(
            "; ".join(others),
            "choose another engine, or go on with --on-unmet warn, or copy for what is read-only",
        )
    for sentence in others:
        context.log.say(sentence)
    return copied


def _copied(words: Words, found: Mapping[str, str]) -> Sequence[str]:
    from cwl_userspace.staging import COPIED

    copied = [promise for promise in found if promise in COPIED]
    if copied and words.flag("print-command"):
        raise UsageError(
            "--print-command cannot show the copies that --on-unmet copy makes",
            "leave out one of the two",
        )
    return copied
