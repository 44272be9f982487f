"""Read a page as plain reStructuredText, as a forge does: Sphinx's own directives say nothing."""

from __future__ import annotations

import functools
import io
from pathlib import Path

from docutils import nodes
from docutils.core import publish_doctree
from docutils.parsers.rst import Directive, directives


class _Nothing(Directive):
    """Stands for what Sphinx alone knows."""

    has_content = True
    optional_arguments = 1
    final_argument_whitespace = True
    option_spec = dict.fromkeys(("hidden", "caption", "members"), directives.unchanged)

    def run(self) -> list[nodes.Node]:
        return []


@functools.cache
def document(page: Path) -> tuple[nodes.document, str]:
    """The tree of a page, which nobody changes, and what docutils complains of."""
    for name in ("toctree", "automodule"):
        directives.register_directive(name, _Nothing)
    said = io.StringIO()
    given = {"report_level": 2, "halt_level": 5, "warning_stream": said}
    tree = publish_doctree(page.read_text("utf-8"), str(page), settings_overrides=given)
    return tree, said.getvalue()
