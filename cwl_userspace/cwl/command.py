"""Which program runs the containers, and what its engine cannot promise on this host."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from typing import TYPE_CHECKING

from cwltool.errors import WorkflowException
from cwltool.loghandler import _logger

from cwl_userspace.engines.base import NETWORK_OFF, READ_ONLY_BINDS, READ_ONLY_ROOT
from cwl_userspace.engines.choose import choose
from cwl_userspace.engines.promises import said
from cwl_userspace.errors import UserspaceError
from cwl_userspace.settings import load

if TYPE_CHECKING:
    from cwl_userspace.engines.base import Engine

COMMAND = "cwl-userspace"
_ASKED_BY_CWLTOOL = (NETWORK_OFF, READ_ONLY_BINDS, READ_ONLY_ROOT)


def find_command() -> str:
    """The absolute path of our command: beside the running one, in the scripts, or on PATH.

    Raise WorkflowException if it is nowhere.
    """
    beside = os.path.dirname(os.path.abspath(sys.argv[0]))
    for directory in (beside, os.path.dirname(sys.executable), sysconfig.get_path("scripts")):
        path = os.path.join(directory, COMMAND)
        if os.access(path, os.X_OK):
            return path
    found = shutil.which(COMMAND)
    if found is None:
        raise WorkflowException(
            f"no {COMMAND} beside {sys.argv[0]} or on PATH; install the package cwl-userspace"
        )
    return os.path.abspath(found)


_announced: list[str] = []


def announce() -> None:
    """Say once in cwltool's log what the engine cannot promise; raise where none works."""
    if _announced:
        return
    try:
        settings = load(os.environ)
        engine = choose(settings.engine, settings, os.environ)
    except UserspaceError as error:
        raise WorkflowException(str(error)) from None
    _announced.append(engine.name)
    _logger.info("containers are run by %s with the engine %s", COMMAND, engine.name)
    for sentence in _unkept(engine):
        _logger.warning("%s", sentence)
    for note in engine.notes():
        _logger.info("%s", note)


def _unkept(engine: Engine) -> list[str]:
    kept = said(engine)
    return [
        f"the engine {engine.name} cannot promise {promise}: {kept[promise]}"
        for promise in _ASKED_BY_CWLTOOL
        if kept[promise]
    ]
