"""Builds the images of the conformance tests without Docker, into an OCI image layout."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from conformance.debian import architecture, require_mmdebstrap
from conformance.layer import Layer, epoch, write_layer
from conformance.layout import CONFIG_TYPE, LAYER_TYPE, MANIFEST_TYPE, Blob, Layout
from conformance.problem import Problem
from conformance.recipes import RECIPES, STAND_INS, Recipe
from conformance.screen import Line

# Where Debian's name of an architecture is not the one that OCI took from Go.
_PLATFORMS = {
    "arm64": {"architecture": "arm64", "variant": "v8"},
    "armhf": {"architecture": "arm", "variant": "v7"},
    "armel": {"architecture": "arm", "variant": "v5"},
    "i386": {"architecture": "386"},
    "ppc64el": {"architecture": "ppc64le"},
}

# mmdebstrap waits for the disk half of its time, and much of ours goes to gzip.
_AT_ONCE = 2


def build(recipe: Recipe, layout: Layout, line: Line) -> None:
    """Makes one image and lets its name appear in the layout when all of it is there."""
    started = time.monotonic()

    def progress(text: str) -> None:
        line.show(f"{recipe.name}: {text} ...")

    layers = [write_layer(layout, maker(progress)) for maker in recipe.layers]
    platform = host_platform()
    config = layout.add(_config(recipe, layers, platform))
    manifest = layout.add(_manifest(config, layers))
    layout.publish(recipe.name, manifest, platform)
    size = sum(layer.blob.size for layer in layers) / 1e6
    took = time.monotonic() - started
    line.say(f"{recipe.name}: built, {size:.1f} MB, in {took:.0f} s")


def host_platform() -> dict[str, str]:
    name = architecture()
    return {"os": "linux", **_PLATFORMS.get(name, {"architecture": name})}


def choose(names: Sequence[str]) -> list[Recipe]:
    """The recipes of these names, written as Docker lets one write them.

    Without names all but those that are only built on demand. The name of a stand-in means the
    recipe that it is another name of.
    """
    if not names:
        return [one for one in RECIPES if not one.on_demand]
    wanted = {STAND_INS.get(name, name) for name in map(full_name, names)}
    return [one for one in RECIPES if one.name in wanted]


def full_name(name: str) -> str:
    """The name of an image that can be made; raises a Problem that lists all, for any other."""
    known = [one.name for one in RECIPES] + list(STAND_INS)
    for one in known:
        if name in _spellings(one):
            return one
    raise Problem(f"unknown image '{name}'", f"known are: {', '.join(known)}")


def _spellings(name: str) -> list[str]:
    shorter = name.removeprefix("docker.io/")
    shortest = shorter.removeprefix("library/")
    return [name, shorter, shortest, f"docker.io/{shortest}", shortest.removesuffix(":latest")]


def _config(recipe: Recipe, layers: Sequence[Layer], platform: dict[str, str]) -> dict[str, Any]:
    return {
        "created": datetime.fromtimestamp(epoch(), timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        **platform,
        "config": recipe.config(),
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
        # The specification does not ask for it, but ch-image does.
        "history": [{"created_by": "conformance.images"} for _ in layers],
    }


def _manifest(config: Blob, layers: Sequence[Layer]) -> dict[str, Any]:
    return {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": {"mediaType": CONFIG_TYPE, **config._asdict()},
        "layers": [{"mediaType": LAYER_TYPE, **layer.blob._asdict()} for layer in layers],
    }


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="conformance.images", description=__doc__)
    parser.add_argument("--to", required=True, type=Path, metavar="DIR", help="the OCI layout")
    parser.add_argument("--force", action="store_true", help="build again what is already there")
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all but the benchmarks'")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    options = _arguments(argv)
    line = Line()
    try:
        ensure(options.names, options.to, line, options.force)
    except Problem as problem:
        line.clear()
        problem.report("conformance.images")
        return 1
    except OSError as error:
        line.clear()
        about = f"'{error.filename or options.to}': {error.strerror}"
        Problem(about, "is there room, and may you write there?").report("conformance.images")
        return 1
    except KeyboardInterrupt:
        # The terminal has told mmdebstrap too, which cleans up after itself.
        line.clear()
        return 130
    return 0


def ensure(names: Sequence[str], folder: Path, line: Line, force: bool = False) -> None:
    """Sees that the images of these names are in the layout, and builds those that are not.

    Raises a Problem for a name that is not known, or where an image cannot be built.
    """
    layout = Layout(folder)
    wanted = choose(names)
    missing = [one for one in wanted if force or not layout.find(one.name)]
    for recipe in wanted:
        if recipe not in missing:
            line.say(f"{recipe.name}: already there")
    if missing:
        require_mmdebstrap()
        layout.create()
        _build_all(missing, layout, line)
    for name in map(full_name, names):
        if name in STAND_INS and (force or not layout.find(name)):
            layout.alias(name, STAND_INS[name])
            line.say(f"{name}: another name of {STAND_INS[name]}")


def _build_all(recipes: Sequence[Recipe], layout: Layout, line: Line) -> None:
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        # The list ends with what takes longest; list() lets the first failure out.
        list(pool.map(lambda one: build(one, layout, line), reversed(recipes)))


if __name__ == "__main__":
    sys.exit(main())
