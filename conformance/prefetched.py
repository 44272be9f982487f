"""Has ``cwl-userspace prefetch`` copy the images of a whole suite, and checks that it finds all.

What it must find is told by a walk through the documents that knows nothing of CWL but how one
names another: every ``dockerPull`` in them, with its line.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urldefrag, urlsplit

from cwltest.utils import load_and_validate_tests
from ruamel.yaml import YAML

from conformance.doors import program
from conformance.problem import Problem

_NAMES_ANOTHER = ("run", "$import", "$mixin")


class Ask(NamedTuple):
    """An image, and the line of the document that asks for it."""

    image: str
    file: str
    line: int


class Listing(NamedTuple):
    """What ``prefetch`` has said: what it found, and the documents that it could not read."""

    asks: frozenset[Ask]
    unread: tuple[str, ...]
    failed: tuple[str, ...]


def documents(tests: Path) -> list[str]:
    """The processes that a suite runs, each once, as paths with the name of one in them."""
    listed, _ = load_and_validate_tests(str(tests))
    found = dict.fromkeys(str(test["tool"]) for test in listed)
    return [_path(uri) + ("#" + urldefrag(uri)[1] if "#" in uri else "") for uri in found]


def walk(names: Sequence[str]) -> set[Ask]:
    """Every ``dockerPull`` in these documents and in those that they name."""
    waiting = [Path(urldefrag(name)[0]) for name in names]
    seen: set[Path] = set()
    found: set[Ask] = set()
    while waiting:
        path = waiting.pop().resolve()
        if path in seen or not path.is_file():
            continue
        seen.add(path)
        for mapping in _mappings(YAML(typ="rt").load(path)):
            if "dockerPull" in mapping:
                line = mapping.lc.key("dockerPull")[0] + 1
                found.add(Ask(_full(str(mapping["dockerPull"])), str(path), line))
            others = [mapping[key] for key in _NAMES_ANOTHER if isinstance(mapping.get(key), str)]
            waiting += [path.parent / unquote(urldefrag(other)[0]) for other in others]
    return found


def ask(names: Sequence[str], images: Path, *words: str) -> Listing:
    """What ``prefetch`` says of these documents, with an image layout as the only place to ask."""
    config = json.dumps({"registries": {"docker.io": {"mirrors": [f"oci:{images.resolve()}"]}}})
    place = Path(words[-1].removeprefix("oci:")).parent if words else images
    file = place / "prefetched.yml"
    file.write_text(config)
    done = subprocess.run(
        [program("cwl-userspace"), "--offline", "prefetch", "--format", "json", *words, *names],
        env={**os.environ, "CWL_USERSPACE_CONFIG": str(file)},
        capture_output=True,
        text=True,
        check=False,
    )
    entries = [json.loads(line) for line in done.stdout.splitlines()]
    said = [line.partition(": ")[2] for line in done.stderr.splitlines()]
    if done.returncode not in (0, 125):
        raise Problem(f"prefetch ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    return Listing(
        frozenset(
            Ask(entry["image"], str(Path(place["file"]).resolve()), place["line"])
            for entry in entries
            for place in entry["places"]
        ),
        tuple(line for line in said if "cannot be loaded" in line),
        tuple(entry["image"] for entry in entries if entry.get("status") == "failed"),
    )


def compare(names: Sequence[str], listing: Listing) -> list[str]:
    """What differs, in words; nothing if all images are found and each where it is asked for."""
    unread = [name for name in names if any(line.startswith(name) for line in listing.unread)]
    read = [name for name in names if name not in unread]
    expected = walk(read)
    images = {one.image for one in expected}
    found = {one.image for one in listing.asks}
    differences = [f"not found: {image}" for image in sorted(images - found)]
    differences += [f"asked for by nobody: {image}" for image in sorted(found - images)]
    differences += [f"no dockerPull is there: {one}" for one in sorted(listing.asks - expected)]
    return differences + [f"cannot be had: {image}" for image in listing.failed]


def _mappings(node: Any) -> Iterator[Any]:
    if isinstance(node, dict):
        yield node
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    for child in children:
        yield from _mappings(child)


def _path(uri: str) -> str:
    return unquote(urlsplit(uri).path) if "://" in uri else urldefrag(uri)[0]


def _full(name: str) -> str:
    """The long form of an image's name, for the names that suites have."""
    first = name.partition("/")[0]
    if "/" not in name:
        name = f"docker.io/library/{name}"
    elif first == "docker.io" and name.count("/") == 1:
        name = f"docker.io/library/{name.partition('/')[2]}"
    elif "." not in first and ":" not in first:
        name = f"docker.io/{name}"
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="conformance.prefetched", description=__doc__)
    parser.add_argument("suite", type=Path, help="the folder with conformance_tests.yaml")
    parser.add_argument("--images", type=Path, required=True, help="an image layout that has them")
    parser.add_argument("--to", type=Path, required=True, help="the layout to make")
    options = parser.parse_args(argv)
    try:
        options.to.parent.mkdir(parents=True, exist_ok=True)
        names = documents(options.suite / "conformance_tests.yaml")
        listing = ask(names, options.images, "--to", f"oci:{options.to.resolve()}")
        differences = compare(names, listing)
    except Problem as problem:
        problem.report("conformance.prefetched")
        return 2
    images = sorted({one.image for one in listing.asks})
    print(
        f"{len(names)} documents, {len(listing.unread)} that cannot be loaded,"
        f" {len(listing.asks)} of {len(walk(names))} places with a dockerPull count,"
        f" and ask for {len(images)} images: {', '.join(images)}"
    )
    for line in (*listing.unread, *differences):
        print(f"  {line:.200}")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
