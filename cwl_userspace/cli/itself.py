"""How another interpreter finds this very package: the beginning of a command that we write."""

from __future__ import annotations

import os
import site
import sys

import cwl_userspace

# The module of the single file that has unpacked us, if one has; see conformance/release/app.
_SINGLE_FILE = "cwl_userspace_file"


def find_package() -> str:
    """What to do before our package is found by an interpreter that looks only in its own places.

    A checkout comes first, as it does now; packages of a user, with those that we need, last. What
    a single file was unpacked to may be removed at any time, so then the file itself is named.
    """
    file = sys.modules.get(_SINGLE_FILE)
    if file is not None:
        archive: str = file.ARCHIVE
        found = f"import sys; sys.path.insert(0, {archive!a}); import {_SINGLE_FILE}; "
        return f"{found}{_SINGLE_FILE}.use(); "
    origin = os.path.dirname(os.path.dirname(os.path.abspath(cwl_userspace.__file__)))
    if origin in site.getsitepackages():
        return ""
    if origin == site.getusersitepackages():
        return f"import site, sys; site.addsitedir({origin!a}); "
    return f"import sys; sys.path.insert(0, {origin!a}); "
