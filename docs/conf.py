"""How Sphinx makes a site of these pages, which a forge shows as they are, too.

Links between pages are written as a forge follows them (``clusters.rst``); here they become links
between the site's pages, so one that leads nowhere is a warning. The index has every message.
"""

from __future__ import annotations

import re

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

import cwl_userspace

project = "cwl-userspace"
author = "cwl-userspace developers"
copyright = author
release = version = cwl_userspace.__version__

extensions = ["sphinx.ext.autodoc"]
exclude_patterns = ["man"]
html_theme = "alabaster"
html_title = f"{project} {release}"
html_copy_source = False
html_show_sphinx = False
highlight_language = "none"

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": True}

# What a page names by a path outside of this folder, and the page that includes it.
_ELSEWHERE = {
    "../README.rst": "index",
    "../CHANGELOG.rst": "changelog",
    "../CONTRIBUTING.rst": "contributing",
    "../SECURITY.rst": "security",
    "../conformance/README.rst": "running-conformance",
    "../tests/security/README.rst": "security-tests",
}
_PAGE = re.compile(r"(?P<path>(?:\.\./)*(?:[\w-]+/)*[\w-]+\.rst)(?:#(?P<anchor>[\w-]+))?")


def link_pages(app: Sphinx, tree: nodes.document) -> None:
    """Have references to ``PAGE.rst`` lead to the page that is made of it."""
    for reference in list(tree.findall(nodes.reference)):
        found = _PAGE.fullmatch(reference.get("refuri", ""))
        if found is None:
            continue
        path = found["path"].removeprefix("docs/").removeprefix("../docs/")
        target = _ELSEWHERE.get(path, path.removesuffix(".rst"))
        if found["anchor"]:
            reference["refuri"] = f"{target}.html#{found['anchor']}"
            continue
        pending = addnodes.pending_xref(
            "",
            *reference.children,
            refdomain="std",
            reftype="doc",
            reftarget=target,
            refdoc=app.env.docname,
            refexplicit=True,
            refwarn=True,
        )
        reference.replace_self(pending)


def index_messages(app: Sphinx, tree: nodes.document) -> None:
    """Put each message of the pages of errors into the index, and a link to it beside it."""
    messages: list[nodes.TextElement] = []
    if app.env.docname == "errors":
        messages = [one for one in tree.findall(nodes.paragraph) if one["ids"]]
    elif app.env.docname == "troubleshooting":
        messages = list(tree.findall(nodes.term))
    for message in messages:
        text = message.children[0].astext()
        if not message["ids"]:
            message["ids"].append(nodes.make_id(text))
        # A semicolon would make an entry of two levels.
        entry = ("single", text.replace(";", ",").removeprefix("… "), message["ids"][0], "", None)
        message += nodes.reference("", "¶", refid=message["ids"][0], classes=["headerlink"])
        message.insert(0, addnodes.index(entries=[entry]))


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("doctree-read", link_pages)
    app.connect("doctree-read", index_messages)
    return {"parallel_read_safe": True}
