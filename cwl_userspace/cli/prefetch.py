"""``prefetch``: all images that CWL documents ask for, as a list, in the store or in a layout."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from cwl_userspace.cli import complain
from cwl_userspace.cli.context import Context
from cwl_userspace.cli.documents import Answer, Wanted, ask
from cwl_userspace.cli.fetch import find_or_fetch, sources
from cwl_userspace.cli.help import show
from cwl_userspace.cli.progress import Progress, person_looks_on
from cwl_userspace.cli.words import FLAG, VALUE, Option, Words, parse
from cwl_userspace.errors import UsageError, UserspaceError
from cwl_userspace.image.mirror import Mirror
from cwl_userspace.oci import Platform
from cwl_userspace.reference import ImageReference

OPTIONS = (
    Option("--list", FLAG, "only list the images and where they are asked for"),
    Option("--to", VALUE, "copy them into an OCI layout, for use as a mirror", "oci:DIR"),
    Option("--overrides", VALUE, "cwltool's file of requirements that override others", "FILE"),
    Option("--platform", VALUE, "take the images for another platform", "OS/ARCH"),
    Option("--format", VALUE, "json: one object a line", "json"),
    Option("-q --quiet", FLAG, "no progress, and no list of what was fetched"),
    Option("--help", FLAG, "show this text"),
)
_FAILED = 125
# More at once than that would only wait for the same network.
_AT_ONCE = 4
# What the other process has in the store, and a layout cannot have.
_LOCAL = {
    "dockerFile": "it is built where it runs; prefetch it into a store, without --to",
    "dockerLoad": "its file has to be taken along; or prefetch it into a store, without --to",
    "dockerImport": "its file has to be taken along; or prefetch it into a store, without --to",
    "dockerImageId": "nothing says where it comes from; take an archive of it along (save, load)",
}

# Has one image; raises UserspaceError where that cannot be.
Have = Callable[[ImageReference], object]


def command(context: Context, argv: Sequence[str]) -> int:
    """List or fetch; one line for each image on standard output, one for each error on the other.

    125 if a document could not be read or an image not be had; the others are had all the same.
    """
    words = parse("prefetch", OPTIONS, argv)
    if words.flag("help"):
        return show("prefetch", "[OPTIONS] WORKFLOW.cwl[#ID]... [JOB]", OPTIONS)
    _check(words)
    context.log.quiet = context.log.quiet or words.flag("quiet")
    acquire = not words.flag("list") and not words.value("to")
    answer = ask(context, words.arguments, words.value("overrides"), acquire)
    problems = list(answer.problems)
    for problem in problems:
        complain(problem)
    outcome = "" if words.flag("list") else "fetched"
    for wanted, problem in _shown_meanwhile(context, words, answer):
        if problem:
            problems.append(problem)
            complain(f"{wanted.places[0]}: {problem}")
        if words.value("format") == "json":
            _print_json(wanted, problem, outcome)
        elif not words.flag("quiet") and (words.flag("list") or not problem):
            _print(wanted, all_places=words.flag("list"))
    return _FAILED if problems else 0


def _shown_meanwhile(
    context: Context, words: Words, answer: Answer
) -> Iterable[tuple[Wanted, str]]:
    """The results as they come; after all of them, where bars have the terminal meanwhile."""
    if words.flag("list") or not person_looks_on(context.log):
        return _results(context, words, answer)
    from cwl_userspace.cli.bars import Bars

    context.bars = Bars()
    try:
        return list(_results(context, words, answer))
    finally:
        context.bars.close()
        context.bars = None


def _check(words: Words) -> None:
    if not words.arguments:
        raise UsageError("prefetch needs a document", "cwl-userspace prefetch workflow.cwl")
    if words.value("format") not in ("", "json"):
        raise UsageError(f"--format is {words.value('format')!r}", "expected json")
    place = words.value("to")
    if "to" in words.values and not place.removeprefix("oci:"):
        raise UsageError("--to names no directory", "expected oci:DIR")
    if place and not place.startswith("oci:"):
        raise UsageError(f"--to is {place!r}", "expected oci:DIR")
    if place and words.flag("list"):
        raise UsageError("--list fetches nothing", "leave out --list or --to")
    if words.value("overrides") and not os.path.isfile(words.value("overrides")):
        raise UsageError(f"no file {words.value('overrides')!r}", "--overrides names a YAML file")


def _results(context: Context, words: Words, answer: Answer) -> Iterator[tuple[Wanted, str]]:
    """Each image in the order of the documents, as soon as it is there, and what is wrong."""
    if words.flag("list"):
        yield from ((wanted, "") for wanted in answer.wanted.values())
        return
    have = _copying(context, words) if words.value("to") else _storing(context, words)
    pulled = {key: w for key, w in answer.wanted.items() if w.kind == "dockerPull"}
    pool = ThreadPoolExecutor(max_workers=_AT_ONCE)
    waiting = {key: pool.submit(_try, have, wanted) for key, wanted in pulled.items()}
    try:
        for key, wanted in answer.wanted.items():
            if key in waiting:
                yield wanted, waiting[key].result()
            elif words.value("to"):
                yield wanted, f"{_shown(wanted)} is not in the layout: {_LOCAL[wanted.kind]}"
            else:
                yield wanted, answer.had.get(key, "it was not asked for any more")
    finally:  # without waiting, if somebody has had enough
        pool.shutdown(wait=False, cancel_futures=True)


def _try(have: Have, wanted: Wanted) -> str:
    try:
        have(ImageReference.parse(wanted.image))
    except UserspaceError as error:
        return f"the image {_shown(wanted)} cannot be had: {error}"
    return ""


def _storing(context: Context, words: Words) -> Have:
    platform = words.value("platform")
    return lambda reference: find_or_fetch(context, str(reference), platform)


def _copying(context: Context, words: Words) -> Have:
    text = words.value("platform")
    platform = Platform.parse(text) if text else Platform.host()
    mirror = Mirror(words.value("to").removeprefix("oci:"), context.log.say)

    def have(reference: ImageReference) -> None:
        with Progress(reference.familiar, context.log, context.bars) as progress:
            progress(f"into {mirror.path}")
            mirror.copy(reference, progress.watch(sources(context, reference)), platform)

    return have


def _shown(wanted: Wanted) -> str:
    return wanted.image if wanted.kind == "dockerPull" else f"{wanted.kind} {wanted.image}"


def _print(wanted: Wanted, all_places: bool) -> None:
    print(_shown(wanted), flush=not all_places)
    places = [f"{place}{'' if place.required else ' (hint)'}" for place in wanted.places]
    for place in dict.fromkeys(places) if all_places else ():
        print(f"    {place}")


def _print_json(wanted: Wanted, problem: str, outcome: str) -> None:
    document = {
        "image": wanted.image,
        "kind": wanted.kind,
        "places": [place._asdict() for place in wanted.places],
    }
    if outcome:
        document["status"] = "failed" if problem else outcome
        document["problem"] = problem
    print(json.dumps(document), flush=True)
