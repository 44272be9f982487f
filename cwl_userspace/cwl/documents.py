"""Loads CWL documents as cwltool does: all versions, ``$graph``, overrides, job files."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Iterator
from typing import Any

from cwltool.context import LoadingContext
from cwltool.errors import GraphTargetMissingException
from cwltool.load_tool import (
    fetch_document,
    jobloaderctx,
    load_overrides,
    make_tool,
    resolve_and_validate_document,
    resolve_overrides,
    resolve_tool_uri,
)
from cwltool.main import setup_schema
from cwltool.process import Process
from cwltool.resolver import resolve_local, tool_resolver
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError
from schema_salad.fetcher import DefaultFetcher
from schema_salad.ref_resolver import Loader, file_uri

from cwl_userspace.cwl import tool
from cwl_userspace.errors import UserspaceError

# An input object may name its tool; cwltool takes that for the process then.
_OF_A_PROCESS = {"class", "$graph", "cwlVersion", "cwl:tool"}
# What cwltool says may have the whole document in it.
_LONGEST = 600
_OVERRIDES = "http://commonwl.org/cwltool#overrides"


class NotLoaded(Exception):
    """A document that cannot be loaded; one line says which and why."""


class LocalFetcher(DefaultFetcher):
    """Reads files, and asks no network for anything."""

    def fetch_text(self, url: str, content_types: list[str] | None = None) -> str:
        """The text of a file; raise ValueError, as its base does, for what only a network has."""
        if not url.startswith("file:") and "://" in url and url not in (self.cache or {}):
            raise ValueError(f"{url} is not fetched offline; have it as a file first")
        return str(super().fetch_text(url, content_types))

    def check_exists(self, url: str) -> bool:
        """True if there is such a file."""
        return url.startswith("file:") and bool(super().check_exists(url))


class Documents:
    """What all documents of one call have in common: a file of overrides, and whether offline."""

    def __init__(self, overrides: str, offline: bool) -> None:
        self._overrides = overrides
        self._offline = offline
        # What cwltool knows with --enable-ext.
        setup_schema(Namespace(enable_ext=True), None)

    def processes(self, document: str, job: str) -> Iterator[Process]:
        """The process that a document is, or all of a ``$graph`` of which none is the main one.

        ``job`` is a file with an input object, or nothing. Raise NotLoaded for what has no meaning.
        """
        try:
            yield from self._processes(document, job)
        except NotLoaded:
            raise
        except UserspaceError as error:
            raise NotLoaded(f"{document}: {error}") from None
        except Exception as error:
            # A document may break cwltool in ways that it has no exception for.
            said = " ".join(str(error).split()) or type(error).__name__
            raise NotLoaded(f"{document} cannot be loaded: {said[:_LONGEST]}") from None

    def _processes(self, document: str, job: str) -> Iterator[Process]:
        context = self._context()
        uri, file = resolve_tool_uri(
            document, resolver=context.resolver, fetcher_constructor=context.fetcher_constructor
        )
        if job:
            context.overrides_list.extend(self._overrides_of(job, file))
        if self._overrides:
            overrides = file_uri(os.path.abspath(self._overrides))
            context.overrides_list.extend(load_overrides(overrides, file))
        context, loaded, uri = fetch_document(uri, context)
        context, uri = resolve_and_validate_document(context, loaded, uri)
        try:
            yield make_tool(uri, context)
        except GraphTargetMissingException:
            assert context.loader is not None
            graph: Any = context.loader.resolve_ref(uri)[0]
            for process in graph:
                yield context.construct_tool_object(process, context)

    def _context(self) -> LoadingContext:
        context = LoadingContext()
        context.construct_tool_object = tool.make_tool
        context.resolver = tool_resolver
        # What the tools may not say is for the run to judge; schemas of data formats for nobody.
        context.strict, context.skip_schemas, context.enable_dev = False, True, True
        if self._offline:
            context.fetcher_constructor, context.resolver = LocalFetcher, resolve_local
        return context

    def _overrides_of(self, job: str, tool_uri: str) -> list[Any]:
        """What the input object says of requirements, as cwltool takes it."""
        fetcher: Any = LocalFetcher if self._offline else None
        loader = Loader(jobloaderctx.copy(), fetcher_constructor=fetcher)
        order = loader.resolve_ref(job, checklinks=False)[0]
        if isinstance(order, CommentedMap) and _OVERRIDES in order:
            return list(resolve_overrides(order, file_uri(os.path.abspath(job)), tool_uri))
        return []


def is_job(name: str) -> bool:
    """True if a name is that of a file with an input object, and not a process."""
    try:
        with open(name, encoding="utf-8") as file:
            document = YAML(typ="safe", pure=True).load(file)
    except (OSError, UnicodeDecodeError, YAMLError):
        return False
    return isinstance(document, dict) and not _OF_A_PROCESS & document.keys()
