"""Images that singularity itself has made: a SIF file with a squashfs in it, or a squashfs alone.

The format is that of the project sif (pkg/sif/sif.go): a header, a table of descriptors, the data.
"""

from __future__ import annotations

import os
import struct

from cwl_userspace.errors import ImageError
from cwl_userspace.image.squashfs import MAGIC as SQUASHFS

# After a line that starts the program, as of a script: magic, version, architecture, id, two
# times, descriptors (free, all, offset, length), data (offset, length).
_SCRIPT = b"#!/usr/bin/env run-singularity\n"
_LAUNCH = 32
_MAGIC = b"SIF_MAGIC\0"
_HEADER = struct.Struct("<10s3s3s16sqqqqqqqq")
# Kind, used, id, group, link, offset, length, and what is not asked for here; then 384 bytes that
# for a file system begin with its kind and its role.
_DESCRIPTOR = struct.Struct("<i?IIIqqqqqqq128s384s")
_MOST_DESCRIPTORS = 1024
_PARTITION, _SQUASH, _PRIMARY = 0x4004, 1, 2
_KINDS = {1: "squashfs", 2: "ext3", 3: "an archive", 4: "raw data", 5: "an encrypted squashfs"}
_DATA = struct.Struct("<ii")


def squashfs_at(path: str, file: int) -> int | None:
    """Where the squashfs of an image begins; None for a file that is none of singularity's.

    ``file`` is a descriptor of it. Raise ImageError for one whose root is no squashfs.
    """
    head = os.pread(file, _LAUNCH + _HEADER.size, 0)
    if head.startswith(SQUASHFS):
        return 0
    if head.startswith(_SCRIPT + SQUASHFS):  # as singularity 2 wrote them
        return len(_SCRIPT)
    if head[_LAUNCH : _LAUNCH + len(_MAGIC)] != _MAGIC:
        return None
    if len(head) < _LAUNCH + _HEADER.size:
        raise _damaged(path)
    *_, count, offset, _length, _data, _data_length = _HEADER.unpack_from(head, _LAUNCH)
    if not 0 < count <= _MOST_DESCRIPTORS or offset <= 0:
        raise _damaged(path)
    table = os.pread(file, count * _DESCRIPTOR.size, offset)
    size = os.fstat(file).st_size
    for place in range(0, len(table) - _DESCRIPTOR.size + 1, _DESCRIPTOR.size):
        kind, used, *_, extra = found = _DESCRIPTOR.unpack_from(table, place)
        begin, length = found[5], found[6]
        system, role = _DATA.unpack_from(extra)
        if not used or kind != _PARTITION or role != _PRIMARY:
            continue
        if begin <= 0 or length <= 0 or begin + length > size:
            raise _damaged(path)
        if system != _SQUASH:
            raise ImageError(
                f"the root of {path} is {_KINDS.get(system, 'of an unknown kind')}",
                "build it again with singularity build FILE docker://...",
            )
        return int(begin)
    raise _damaged(path)


def _damaged(path: str) -> ImageError:
    return ImageError(f"{path} is a SIF file without a whole root", "copy or build it again")
