"""Links of a tree that is not the root: each leads where it would if the tree were."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cwl_userspace.anchor import anchor_links, anchored


@pytest.mark.parametrize(
    ("directory", "target", "leads"),
    [
        ("/usr/bin", "perl5", None),
        ("/usr/bin", "../lib/x", None),
        ("/usr/bin", "./../../etc/x", None),
        ("/usr/bin", "/etc/alternatives/x", "/etc/alternatives/x"),
        ("/usr/bin", "/", "/"),
        ("", "../etc/passwd", "/etc/passwd"),
        ("/a", "../../../etc/passwd", "/etc/passwd"),
        ("/a/b", "../../../a/../../x", "/x"),
        ("/a", "/../../etc/passwd", "/etc/passwd"),
        ("/a", "b/../../c", "/c"),
        ("/a", "//etc//x", "//etc//x"),
    ],
)
def test_only_links_that_would_leave_are_given_a_new_target(
    directory: str, target: str, leads: str | None
) -> None:
    assert anchored(directory, target) == leads


def test_a_tree_of_links_is_closed_in_itself(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("of the host")
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc/file").write_text("of the image")
    os.symlink("/etc/file", root / "etc/absolute")
    os.symlink("../../etc/file", root / "etc/climbing")
    os.symlink("file", root / "etc/plain")
    os.symlink(f"{outside}/file", root / "etc/away")
    os.symlink("../outside/file", root / "beside")
    os.symlink("/etc", root / "directory")
    before = os.lstat(root / "etc/absolute").st_mtime_ns
    anchor_links(str(root))
    assert (root / "directory/absolute").read_text() == "of the image"
    assert (root / "etc/climbing").read_text() == "of the image"
    assert os.readlink(root / "etc/plain") == "file"
    assert not (root / "etc/away").exists() and not (root / "beside").exists()
    assert os.lstat(root / "etc/absolute").st_mtime_ns == before
