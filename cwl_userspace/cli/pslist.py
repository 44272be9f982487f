"""Which containers ``ps`` lists, by Docker's filters."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cwl_userspace.cli import subjects
from cwl_userspace.cli.context import Context
from cwl_userspace.cli.listing import has_labels
from cwl_userspace.cli.subjects import Subject
from cwl_userspace.cli.words import Words
from cwl_userspace.errors import ImageError, InvalidReference, UsageError
from cwl_userspace.store import records

FILTERS = ("id", "name", "status", "exited", "ancestor", "label", "before", "since")
STATES = ("created", "restarting", "running", "removing", "paused", "exited", "dead")
# These ask for what does not run, too.
_OF_ALL = frozenset(("status", "exited"))


def chosen(context: Context, given: Mapping[str, Sequence[str]], everything: bool) -> list[Subject]:
    """The containers that fit all filters, the oldest first; raise UsageError for a wrong value."""
    for state in given.get("status", ()):
        if state not in STATES:
            raise UsageError(
                f"the filter status={state} is not known", f"expected one of {', '.join(STATES)}"
            )
    known: Iterable[Subject] = subjects.every(context)
    if not (everything or _OF_ALL & given.keys()):
        known = (subject for subject in known if subject.running)
    for key, values in given.items():
        known = [subject for subject in known if _fits(context, subject, key, values)]
    return list(known)


def created(subject: Subject) -> float:
    """When a container was made, or was run first."""
    if subject.made is not None:
        return subject.made.created
    last = _last(subject)
    return float(last.get("time") or last["ended"])


def labels(subject: Subject) -> dict[str, str]:
    """The labels that a container was given."""
    known = subject.words()
    texts = Words.from_json(known).list("label") if known else ()
    image = (subject.made.document.get("Labels") or {}) if subject.made is not None else {}
    return {**image, **dict(text.partition("=")[::2] for text in texts)}


def _fits(context: Context, subject: Subject, key: str, values: Sequence[str]) -> bool:
    if key == "id":
        return any(subject.id.startswith(value) for value in values)
    if key == "name":
        return any(_pattern(value).search(subject.shown) for value in values)
    if key == "status":
        return subject.state in values
    if key == "exited":
        return subject.ended is not None and str(subject.ended["code"]) in values
    if key == "ancestor":
        return any(_image(subject) == _identifier(context, value) for value in values)
    if key == "label":
        return has_labels(labels(subject), values)
    limits = [created(subjects.find(context, value)) for value in values]
    moment = created(subject)
    return all(moment < limit if key == "before" else moment > limit for limit in limits)


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text.lstrip("/"))
    except re.error as error:
        raise UsageError(f"the filter name={text} is no pattern", str(error)) from None


def _image(subject: Subject) -> str:
    made = subject.made
    return made.image if made is not None else str(_last(subject).get("image", ""))


def _identifier(context: Context, name: str) -> str:
    try:
        return str(records.find(context.store, name).id)
    except (ImageError, InvalidReference):
        return ""


def _last(subject: Subject) -> dict[str, Any]:
    return subject.running[-1] if subject.running else subject.ended or {}
