"""The digest of a container's image in a research object (CWLProv)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from cwltool.loghandler import _logger

from cwl_userspace.cwl.store import store_of
from cwl_userspace.errors import UserspaceError
from cwl_userspace.settings import load
from cwl_userspace.store import records

if TYPE_CHECKING:
    from cwltool.cwlprov.provenance_profile import ProvenanceProfile
    from cwltool.docker import DockerCommandLineJob

IMAGE, DIGEST, ID = "cwlprov:image", "cwlprov:imageDigest", "cwlprov:imageId"


def record(job: DockerCommandLineJob) -> None:
    """Have the digest of a job's image added, at its end, to what cwltool has recorded of that.

    cwltool records the name by which the image was asked for: another image tomorrow, perhaps.
    """
    callback = job.output_callback

    def told(outputs: Any, status: str) -> None:
        if job.prov_obj is not None:
            _tell(job.prov_obj)
        if callback is not None:
            callback(outputs, status)

    job.output_callback = told


def _tell(profile: ProvenanceProfile) -> None:
    from prov.model import ProvAgent

    store = store_of(load(os.environ))
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
