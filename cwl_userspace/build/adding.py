"""What ADD does beyond COPY: it fetches addresses, and unpacks archives of the context."""

from __future__ import annotations

import hashlib
import os
import posixpath
from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

from cwl_userspace.build.patterns import Ignored
from cwl_userspace.build.problem import Problem
from cwl_userspace.build.sources import Item, Place, Source
from cwl_userspace.errors import LayerError
from cwl_userspace.image import tar
from cwl_userspace.image.layers import Tree
from cwl_userspace.image.stream import decompressed
from cwl_userspace.image.tarwriter import content_of

_HEADER = 512
_REPOSITORIES = ("git@", "git://", "ssh://")


def is_address(text: str) -> bool:
    """True for a source that is fetched; raise Problem for a repository, which cannot be."""
    is_url = text.startswith(("http://", "https://"))
    if text.startswith(_REPOSITORIES) or (is_url and urlsplit(text).path.endswith(".git")):
        raise Problem(f"takes the repository {text!r}, which is not supported", "clone it with RUN")
    return is_url


def download(url: str, directory: str, checksum: str, offline: bool) -> Source:
    """Fetch a file; its mode is 0600 and its time 0, as where a server tells Docker none.

    Raise Problem if it is not what ``checksum`` says, an ImageError if it cannot be had.
    """
    from cwl_userspace.image.offline import from_web

    name = os.fsencode(unquote(posixpath.basename(urlsplit(url).path)))
    path = os.path.join(os.fsencode(directory), b"download-" + os.urandom(6).hex().encode())
    whole = hashlib.sha256()
    with open(path, "xb") as file:
        for chunk in from_web(url, offline):
            whole.update(chunk)
            file.write(chunk)
    if checksum and checksum != f"sha256:{whole.hexdigest()}":
        raise Problem(
            f"fetched {url} with the digest sha256:{whole.hexdigest()}", f"not {checksum}"
        )
    os.chmod(path, 0o600)
    os.utime(path, (0, 0))
    return Source(name, (Item(b"", path, os.lstat(path)),), False)


def is_archive(source: Source) -> bool:
    """True for a file that is a tar, compressed or not."""
    if source.is_directory:
        return False
    head = b""
    try:
        for chunk in _plain(source):
            head += chunk
            if len(head) >= _HEADER:
                break
    except LayerError:
        return False
    return head[257:262] == b"ustar"


def unpacked(source: Source, directory: str) -> Source:
    """The contents of an archive, unpacked as a layer is; raise LayerError if it is damaged."""
    path = os.path.join(directory, f"unpacked-{os.urandom(6).hex()}")
    os.mkdir(path, 0o755)
    tree = Tree(path)
    try:
        tree.apply(tar.Bytes(_plain(source), _label(source)), whiteouts=False)
        tree.finish()
    except BaseException:
        tree.close()
        raise
    return Place(path, _label(source)).find("/", Ignored(()))[0]


def _plain(source: Source) -> Iterator[bytes]:
    return decompressed(content_of(source.items[0].path), _label(source))


def _label(source: Source) -> str:
    return f"the archive {os.fsdecode(source.basename)}"
