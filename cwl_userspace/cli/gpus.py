"""``--gpus`` as Docker writes it: ``all``, a number, or CSV with keys."""

from __future__ import annotations

from cwl_userspace.cli.mounts import fields
from cwl_userspace.errors import UsageError
from cwl_userspace.gpus import LIBRARIES
from cwl_userspace.spec import Gpus

_EXPECTED = "expected all, a number, or device=NUMBER|UUID[,...]"
_CAPABILITIES = (*LIBRARIES, "all", "gpu")


def gpus(text: str) -> Gpus:
    """``all``, ``2``, ``device=0,1``, ``"device=0,1"``, ``count=1,"capabilities=compute,utility"``.

    Numbers without a key after ``device=`` are devices too, where Docker wants quotes. Raise
    UsageError for anything else, and for another maker's driver.
    """
    count = ""
    devices: list[str] = []
    capabilities: list[str] = []
    for field in fields(text):
        key, equals, value = field.partition("=")
        if not equals and devices:
            devices.append(key)
        elif not equals or key == "count":
            count = value if equals else key
        elif key == "device":
            devices += value.split(",")
        elif key == "capabilities":
            capabilities += value.split(",")
        elif key != "driver" or value not in ("", "nvidia"):
            raise UsageError(f"--gpus has {field!r} in {text!r}", _EXPECTED)
    unknown = [name for name in capabilities if name not in _CAPABILITIES]
    if unknown:
        known = ", ".join(LIBRARIES)
        raise UsageError(f"--gpus has the capability {unknown[0]!r}", f"there are: {known}, all")
    if (count and devices) or not all(devices) or not (count or devices):
        raise UsageError(f"--gpus is {text!r}", _EXPECTED)
    return Gpus(_count(count, text), devices, [name for name in capabilities if name != "gpu"])


def _count(count: str, text: str) -> int:
    if count in ("all", "-1"):
        return -1
    whole, point, rest = count.partition(".")
    if count and not (whole.isdecimal() and (not point or rest.isdecimal())):
        raise UsageError(f"--gpus is {text!r}", _EXPECTED)
    # cwltool passes what an expression gives, and itself rounds it up.
    return int(whole or "0") + bool(rest.strip("0"))
