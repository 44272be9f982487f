"""Archives that save writes: the same image here, and for others."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pty
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests import tars
from tests.building import Workshop, facts
from tests.containers import Home, Tar
from tests.images import NAME, oci_directory

CONFIG = {"Env": ["A=1"], "Cmd": ["x"], "Labels": {"l": "2"}}


@pytest.fixture
def odd(home: Home) -> str:
    """An image with all that is hard to write."""
    deep = "/".join(["directory"] * 20)
    tar = Tar().directory("a", 0o1777).file("a/one", b"1" * 70_000, 0o640)
    tar.link("a/link", "/" + "long" * 50).file(f"{deep}/{'f' * 120}", b"deep")
    tar.file("ünï", b"").file("0", b"", 0o000).directory("closed", 0o500).file("closed/x", b"x")
    raw = io.BytesIO(tar.bytes())
    with tarfile.open(fileobj=raw, mode="a") as more:
        member = tarfile.TarInfo("hard")
        member.type, member.linkname = tarfile.LNKTYPE, "a/one"
        more.addfile(member)
    return home.add("odd:2", raw.getvalue(), CONFIG)


def other_home(place: Path) -> Home:
    place.mkdir()
    return Home(place)


def read(archive: Path) -> dict[str, Any]:
    found = {}
    with tarfile.open(archive) as tar:
        for member in tar:
            file = tar.extractfile(member) if member.isreg() else None
            if file is not None:
                found[member.name] = file.read()
    return found


def test_a_saved_image_is_loaded_as_the_same_files(home: Home, tmp_path: Path, odd: str) -> None:
    archive = tmp_path / "saved.tar"
    assert home.call("save", "-o", archive, odd).text == ""
    other = other_home(tmp_path / "other")
    assert other.call("load", "-i", archive).text == "Loaded image: odd:2\n"
    assert facts(other.tree(odd), times=True) == facts(home.tree(odd), times=True)
    assert os.path.samefile(other.tree(odd) / "hard", other.tree(odd) / "a/one")
    config = json.loads(other.call("inspect", "-f", "{{json .Config}}", odd).text)
    assert {name: value for name, value in config.items() if value} == CONFIG
    assert home.call("save", odd).out == archive.read_bytes()


def test_the_archive_is_what_docker_expects(home: Home, tmp_path: Path) -> None:
    (tmp_path / "context").mkdir()
    shop = Workshop(home, tmp_path / "context")
    shop.built("FROM bare\nCOPY Dockerfile /a\nENV B=2\nCOPY Dockerfile /c")
    home.call("build", "-t", "second/name:tag", shop.context)
    archive = tmp_path / "saved.tar"
    home.call("save", "-o", archive, f"{shop.image}:latest", "second/name:tag", "busybox")
    members = read(archive)
    first, busybox = json.loads(members["manifest.json"])
    assert first["RepoTags"] == [f"{shop.image}:latest", "second/name:tag"]
    assert busybox["RepoTags"] == ["busybox:latest"]
    for entry in (first, busybox):
        config = members[entry["Config"]]
        assert entry["Config"] == f"{hashlib.sha256(config).hexdigest()}.json"
        (layer,) = entry["Layers"]
        diff_id = f"sha256:{hashlib.sha256(members[layer]).hexdigest()}"
        assert json.loads(config)["rootfs"] == {"type": "layers", "diff_ids": [diff_id]}
    document = json.loads(members[first["Config"]])
    assert [bool(entry.get("empty_layer")) for entry in document["history"]] == [False, True]
    assert document["config"] == shop.config()
    names = json.loads(members["repositories"])
    assert names["second/name"]["tag"] + "/layer.tar" == first["Layers"][0]
    with tarfile.open(fileobj=io.BytesIO(members[first["Layers"][0]])) as layer_tar:
        assert {(m.uid, m.gid, m.uname) for m in layer_tar} == {(0, 0, "")}


def test_skopeo_reads_what_is_saved(home: Home, tmp_path: Path, odd: str) -> None:
    assert shutil.which("skopeo"), "these tests need skopeo"
    archive, layout = tmp_path / "saved.tar", tmp_path / "layout"
    with archive.open("wb") as file:  # as a stream: whoever reads cannot seek
        command = home.command("save", odd)
        saving = subprocess.Popen(command, env=home.environment, stdout=subprocess.PIPE)
        assert saving.stdout is not None
        shutil.copyfileobj(saving.stdout, file)
        assert saving.wait(60) == 0
    copy = ["skopeo", "--insecure-policy", "--tmpdir", str(tmp_path), "copy", "-q"]
    subprocess.run(
        [*copy, f"docker-archive:{archive}:odd:2", f"oci:{layout}:odd:2"],
        check=True,
        timeout=60,
        env={**os.environ, "HOME": str(tmp_path)},
    )
    other = other_home(tmp_path / "other")
    assert other.call("load", "-i", layout).code == 0
    assert facts(other.tree(odd), times=True) == facts(home.tree(odd), times=True)


@pytest.mark.parametrize("form", ["oci-archive", "oci-dir"])
def test_an_oci_layout_is_read_by_others_and_by_us(
    home: Home, tmp_path: Path, odd: str, form: str
) -> None:
    saved = tmp_path / "saved"
    assert home.call("save", "--format", form, "-o", saved, odd, "busybox").text == ""
    if form == "oci-archive":
        assert home.call("save", "--format", form, odd, "busybox").out == saved.read_bytes()
    else:
        again = home.call("save", "--format", form, "-o", saved, odd)
        assert again.code == 125 and "is there already" in again.complaint
        assert {"odd:2", "busybox:latest"} == set(
            subprocess.check_output(["umoci", "ls", "--layout", saved], text=True).split()
        )
    copy = ["skopeo", "--insecure-policy", "--tmpdir", str(tmp_path), "copy", "-q"]
    scheme = form.replace("oci-dir", "oci")
    subprocess.run(
        [*copy, f"{scheme}:{saved}:odd:2", f"docker-archive:{tmp_path}/theirs:odd:2"],
        check=True,
        timeout=60,
        env={**os.environ, "HOME": str(tmp_path)},
    )
    for number, archive in enumerate((saved, tmp_path / "theirs")):
        other = other_home(tmp_path / f"other{number}")
        assert "Loaded image: odd:2\n" in other.call("load", "-i", archive).text
        assert facts(other.tree(odd), times=True) == facts(home.tree(odd), times=True)


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive", "oci-dir"])
def test_where_the_layers_are_kept_an_image_keeps_its_id_and_digest(
    tmp_path: Path, form: str
) -> None:
    layers = [tars.layer(tars.file("one")), tars.layer(tars.whiteout("one"), tars.file("two"))]
    image = oci_directory(tmp_path / "image", layers)
    first = other_home(tmp_path / "first")
    assert first.call("load", "-i", image).code == 0
    for blob in (image / "blobs/sha256").iterdir():
        shutil.copy(blob, tmp_path / "first/store/blobs/sha256")
    saved = tmp_path / "saved"
    assert first.call("save", "--format", form, "-o", saved, NAME).text == ""
    second = other_home(tmp_path / "second")
    assert second.call("load", "-i", saved).code == 0
    described = [json.loads(home.call("inspect", NAME).text)[0] for home in (first, second)]
    assert described[0]["Id"] == described[1]["Id"]
    if form != "docker-archive":
        assert described[0]["RepoDigests"] == described[1]["RepoDigests"] != []
    assert len(described[1]["RootFS"]["Layers"]) == 2
    assert os.listdir(second.tree(NAME)) == ["two"]


def test_an_image_without_a_name_is_saved_by_its_id(home: Home, tmp_path: Path) -> None:
    identifier = home.call("inspect", "-f", "{{.Id}}", "bare").text.strip()
    archive = tmp_path / "saved.tar"
    assert home.call("save", identifier[7:20], "-o", archive).code == 0
    (entry,) = json.loads(read(archive)["manifest.json"])
    assert entry["RepoTags"] is None
    assert "repositories" not in read(archive)
    other = other_home(tmp_path / "other")
    assert other.call("load", "-i", archive).text.startswith("Loaded image ID: sha256:")


def test_what_cannot_be_saved_leaves_no_file(home: Home, tmp_path: Path) -> None:
    ran = home.call("save", "-o", tmp_path / "x", "bare", "no/such:image")
    assert ran.code == 125 and "no/such" in ran.complaint
    assert list(tmp_path.iterdir()) == []
    assert "save needs an image" in home.call("save").complaint
    assert home.call("save", "-o", "/no/such/place", "bare").code == 125


def test_nothing_is_written_to_a_terminal(home: Home) -> None:
    ours, theirs = pty.openpty()
    try:
        done = subprocess.run(
            home.command("save", "bare"),
            env=home.environment,
            stdout=theirs,
            stderr=subprocess.PIPE,
            timeout=30,
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == 125
    assert b"would write to a terminal" in done.stderr
