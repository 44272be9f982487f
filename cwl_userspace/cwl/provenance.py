"""The digest of a container's image in a research object (CWLProv)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from cwltool.context import RuntimeContext
from cwltool.loghandler import _logger

from cwl_userspace.errors import UserspaceError
from cwl_userspace.settings import load
from cwl_userspace.store import records
from cwl_userspace.store.store import Store

if TYPE_CHECKING:
    from cwltool.cwlprov.provenance_profile import ProvenanceProfile
    from cwltool.utils import OutputCallbackType

IMAGE, DIGEST, ID = "cwlprov:image", "cwlprov:imageDigest", "cwlprov:imageId"


def telling(callback: OutputCallbackType, runtimeContext: RuntimeContext) -> OutputCallbackType:
    """A callback that first adds the digests of images to what cwltool has recorded of them.

    cwltool records the name by which an image was asked for, which may be another image tomorrow.
    """
    if runtimeContext.research_obj is None:
        return callback

    def told(outputs: Any, status: str) -> None:
        for profile in _profiles(runtimeContext):
            _tell(profile)
        callback(outputs, status)

    return told


def _profiles(runtimeContext: RuntimeContext) -> list[ProvenanceProfile]:
    return [runtimeContext.prov_obj] if runtimeContext.prov_obj is not None else []


def _tell(profile: ProvenanceProfile) -> None:
    from prov.model import ProvAgent

    store = Store(load(os.environ).store)
    for agent in list(profile.document.get_records(ProvAgent)):
        named = {str(key): str(value) for key, value in agent.attributes}
        if IMAGE not in named or ID in named:
            continue
        try:
            record = records.find(store, named[IMAGE])
        except UserspaceError as error:
            _logger.warning("the digest of an image cannot be recorded: %s", error)
            continue
        facts = {ID: str(record.id), **({DIGEST: record.manifest} if record.manifest else {})}
        agent.add_attributes(facts)
