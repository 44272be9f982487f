"""Where ``-v SOURCE:TARGET:OPTIONS`` is cut, whose paths may have colons of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from cwl_userspace.cli.mounts import volume

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    ("names", "text", "parts"),
    [
        (["a"], "a:/data/a", ("a", "/data/a", False)),
        (["a"], "a:/data/a:ro", ("a", "/data/a", True)),
        (["a"], "a:/data:ro,z", ("a", "/data", True)),
        (["a"], "a:/data/a:z", ("a", "/data/a", False)),
        # cwltool escapes nothing: the last name is the same on both sides.
        (["a:z"], "a:z:/data/a:z", ("a:z", "/data/a:z", False)),
        (["a", "a:ro"], "a:ro:/data/a:ro", ("a:ro", "/data/a:ro", False)),
        (["a:b"], "a:b:/data/a:b", ("a:b", "/data/a:b", False)),
        (["a:b"], "a:b:/data:ro", ("a:b", "/data", True)),
        (["a:ro,b"], "a:ro,b:/data/a:ro,b", ("a:ro,b", "/data/a:ro,b", False)),
        (["a"], "a:/data,ro", ("a", "/data,ro", False)),
    ],
)
def test_a_volume_is_cut_where_its_source_ends(
    tmp_path: Path, names: list[str], text: str, parts: tuple[str, str, bool]
) -> None:
    for name in names:
        (tmp_path / name).touch()
    source, target, read_only = parts
    found = volume(f"{tmp_path}/{text}")
    assert (found.source, found.target, found.read_only) == (
        f"{tmp_path}/{source}",
        target,
        read_only,
    )
