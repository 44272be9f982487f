"""The engines' part of ``doctor``: what each promises here, and what a trial of it has found."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from cwl_userspace.cli.context import Context
from cwl_userspace.engines.choose import make, names
from cwl_userspace.engines.promises import said
from cwl_userspace.errors import EngineError, UserspaceError
from cwl_userspace.image.confine import remove_tree
from cwl_userspace.private import private_directory
from cwl_userspace.store.store import private_name

if TYPE_CHECKING:
    from cwl_userspace.engines.base import Engine

Report = list[dict[str, Any]]


def report(context: Context, tried: bool) -> Report:
    """Each engine that there is; with ``tried``, those that work are tried out, all at once."""
    engines, found = {}, {}
    for name in names():
        try:
            engines[name] = make(name, context.settings, context.environ, fresh=True)
            found[name] = _claims(name, engines[name])
        except EngineError as error:  # one of another package
            found[name] = _entry(name, str(error))
    if tried:
        _try(context, {n: e for n, e in engines.items() if found[n]["works"]}, found)
    return list(found.values())


def broken(found: Report) -> list[str]:
    """One sentence for each promise that was made and not kept."""
    return [
        f"{entry['name']} promised {promise}, but {reason}"
        for entry in found
        for promise, reason in entry["broken"].items()
    ]


def text(found: Report, chosen: str) -> list[str]:
    """The report for people; what is promised and not kept comes first."""
    lines = [f"  ! {sentence}" for sentence in broken(found)]
    for entry in found:
        is_chosen = " (chosen)" if entry["name"] == chosen else ""
        lines.append(f"  {entry['name']}: {'works' + is_chosen if entry['works'] else 'no'}")
        if entry["reason"]:
            lines.append(f"    {entry['reason']}")
        for promise, reason in entry["promises"].items():
            lines.append(f"    {promise}: {_line(promise, reason, entry)}")
        lines += [f"    {note}" for note in entry["notes"]]
    return lines


def _line(promise: str, reason: str, entry: dict[str, Any]) -> str:
    """What is said of one promise: the claim, and what a trial adds to it."""
    found = entry["tried"].get(promise)
    if found is None:
        return f"no: {reason}" if reason else "promised, not tried"
    if found["kept"] is None:
        return f"no: {reason}" if reason else f"promised, {_untried(found['reason'])}"
    if found["kept"]:
        return f"no: {reason} (but nothing was found)" if reason else "yes"
    return f"no: {reason}" if reason else f"PROMISED, BUT {found['reason']}"


def _untried(reason: str) -> str:
    return reason if reason.startswith("cannot try") else f"cannot try: {reason}"


def _claims(name: str, engine: Engine) -> dict[str, Any]:
    reason = engine.unavailable()
    if reason is not None:
        return _entry(name, reason)
    measured = getattr(engine, "measured", None)
    notes = [*engine.notes(), *(measured() if measured is not None else ())]
    return {**_entry(name, ""), "promises": said(engine), "notes": notes}


def _entry(name: str, reason: str) -> dict[str, Any]:
    """What is known of an engine that does not work, or of one before its promises are known."""
    return {
        "name": name,
        "works": not reason,
        "reason": reason,
        "promises": {},
        "tried": {},
        "broken": {},
        "notes": [],
    }


def _try(context: Context, engines: dict[str, Engine], entries: dict[str, dict[str, Any]]) -> None:
    from cwl_userspace.trial import Trials, contradictions

    place = _place(context)
    trials = Trials(place, context.environ)
    try:
        for name, engine in engines.items():
            trials.start(name, engine)
        waiting = set(engines)
        _progress(waiting)
        for name, found in trials.results():
            entry = entries[name]
            entry["tried"] = {promise: finding.to_json() for promise, finding in found.items()}
            entry["broken"] = contradictions(entry["promises"], found)
            _progress(waiting := waiting - {name})
    finally:
        trials.stop()
        remove_tree(place)


def _place(context: Context) -> str:
    """A directory where trials have their trees: in the store, as images have, if possible."""
    try:
        context.store.prepare()
        place = os.path.join(context.store.path, "tmp", private_name())
        os.mkdir(place, 0o755)
        return place
    except (UserspaceError, OSError):
        place = private_directory(context.environ, os.urandom(32).hex(), large=True)
        os.mkdir(place, 0o755)
        return place


def _progress(waiting: set[str]) -> None:
    """Say on a terminal what is still being tried."""
    if sys.stderr.isatty():
        said = f"trying {', '.join(sorted(waiting))}" if waiting else ""
        sys.stderr.write(f"\r\x1b[K{said}")
        sys.stderr.flush()
