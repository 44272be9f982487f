"""Copies of images in a layout: whole, or not there."""

from __future__ import annotations

import fcntl
import os
import queue
import resource
import threading
from pathlib import Path

import pytest

from cwl_userspace.errors import StoreError
from cwl_userspace.image.layout import Layout
from cwl_userspace.image.mirror import Mirror
from cwl_userspace.oci import Platform
from cwl_userspace.reference import ImageReference
from tests import tars
from tests.containers import PATIENCE
from tests.images import oci_directory, plain

pytestmark = pytest.mark.once


def test_a_blob_of_which_the_disk_takes_only_a_part_is_not_there(tmp_path: Path) -> None:
    """write(2) says how much it has taken, and no error before it is asked again."""
    layer = tars.layer(tars.file("f", os.urandom(100_000)))
    source = Layout.directory(str(oci_directory(tmp_path / "source", [layer], plain)))
    mirror = Mirror(str(tmp_path / "mirror"), print)
    reference, host = ImageReference.parse("test:1"), Platform.host()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(layer) - 5, before[1]))
    try:
        with pytest.raises(StoreError, match="cannot be written"):
            mirror.copy(reference, [source], host)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert os.listdir(tmp_path / "mirror/blobs/sha256") == []
    mirror.copy(reference, [source], host)
    copied = Layout.directory(mirror.path)
    (found,) = copied.image(reference, host).layers
    assert b"".join(copied.layer(found)) == layer


def test_who_waits_for_another_writer_says_for_whom(tmp_path: Path) -> None:
    source = Layout.directory(str(oci_directory(tmp_path / "source", [b"a layer"], plain)))
    said: queue.Queue[str] = queue.Queue()
    mirror = Mirror(str(tmp_path / "mirror"), said.put)
    other = os.open(mirror.path, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    words = (ImageReference.parse("test:1"), [source], Platform.host())
    copying = threading.Thread(target=mirror.copy, args=words)
    copying.start()
    try:
        line = said.get(timeout=PATIENCE)
    finally:
        os.close(other)
        copying.join(PATIENCE)
    assert line == f"waiting for process {os.getpid()}, which holds the lock of {mirror.path}"
    assert said.empty() and Layout.directory(mirror.path).image(words[0], words[2]).layers
