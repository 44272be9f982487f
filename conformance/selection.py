"""Finds which conformance tests ask for a container, from the documents that they run."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag, urlsplit

from ruamel.yaml import YAML

from conformance.problem import Problem


def wants_container(tool: str) -> bool:
    """Whether the process at this file URI, or one that it reaches, has a DockerRequirement."""
    return any(_has_docker(process, path) for process, path in _reached(tool))


def _reached(tool: str) -> Iterator[tuple[dict[str, Any], Path]]:
    """The process and those that its steps run, each with the file it stands in."""
    uri, fragment = urldefrag(tool)
    path = Path(unquote(urlsplit(uri).path))
    waiting: list[tuple[Any, Path]] = [(_process(path, fragment), path)]
    seen: list[int] = []
    while waiting:
        process, path = waiting.pop()
        if not isinstance(process, dict) or id(process) in seen:
            continue
        seen.append(id(process))
        yield process, path
        for step in _values(process.get("steps"), path):
            run = step.get("run") if isinstance(step, dict) else None
            waiting.append(_follow(run, path))


def _follow(run: Any, path: Path) -> tuple[Any, Path]:
    """What a step's `run` means: a process in place, or the name of one here or elsewhere."""
    if isinstance(run, str):
        file, fragment = urldefrag(run)
        elsewhere = path.parent / unquote(file) if file else path
        return _process(elsewhere, fragment), elsewhere
    return _imported(run, path)


def _process(path: Path, fragment: str) -> Any:
    document = _load(path)
    if not isinstance(document, dict) or "$graph" not in document:
        return document
    wanted = (fragment or "main").lstrip("#")
    for process in document["$graph"]:
        if str(process.get("id", "")).rpartition("#")[2] == wanted:
            return process
    # A name that is not there is the point of some tests.
    return None


def _has_docker(process: dict[str, Any], path: Path) -> bool:
    return any(
        requirement == "DockerRequirement"
        for field in ("requirements", "hints")
        for requirement in _classes(process.get(field), path)
    )


def _classes(requirements: Any, path: Path) -> Iterator[str]:
    """CWL lets one write requirements as a list of classes or as a map from class to rest."""
    requirements, path = _imported(requirements, path)
    if isinstance(requirements, dict):
        yield from requirements
    for item in requirements if isinstance(requirements, list) else []:
        item, _ = _imported(item, path)
        yield str(item.get("class", ""))


def _values(items: Any, path: Path) -> list[Any]:
    items, _ = _imported(items, path)
    if isinstance(items, dict):
        return list(items.values())
    return items if isinstance(items, list) else []


def _imported(value: Any, path: Path) -> tuple[Any, Path]:
    if isinstance(value, dict) and set(value) == {"$import"}:
        elsewhere = path.parent / str(value["$import"])
        return _load(elsewhere), elsewhere
    return value, path


@cache
def _load(path: Path) -> Any:
    try:
        return YAML(typ="safe").load(path)
    except OSError as error:
        raise Problem(
            f"cannot read '{path}': {error.strerror}",
            "is --suite the folder with conformance_tests.yaml and tests/?",
        ) from error
