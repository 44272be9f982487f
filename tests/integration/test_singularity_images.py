"""Image files and sandboxes: what ``singularity build`` makes of what, and what runs of it."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tests.containers import Home, docker_archive, manifest, oci_layout, shell_layer
from tests.singularity import FAILED, Singularity

# Nothing here depends on who the user is.
pytestmark = pytest.mark.once
DEFINITION = """\
# made by hand
Bootstrap: docker
From: busybox
Stage: first

%post
    mkdir /made; echo of the first > /made/file

Bootstrap: docker
From: busybox

%files from first
    /made/file /copied
%files
    {source} /given/
    {source} /renamed
%post
    id -u > /made-by
    echo 'export LATE="as late as $GREETING"' >> $SINGULARITY_ENVIRONMENT
%environment
    export GREETING='hello {{{{ whom }}}}'
%arguments
    whom=nobody
%labels
    Author me
%runscript
    echo "$GREETING: $@"
%startscript
    echo started > $1; echo "$GREETING"
%test
    test -f /copied && echo tested
%help
    There is none.
"""


@pytest.fixture(scope="module")
def singularity(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Singularity:
    return Singularity(home, tmp_path_factory.mktemp("shims"))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("images")


@pytest.fixture(scope="module")
def image(singularity: Singularity, place: Path) -> Path:
    """A file of an image with an entrypoint."""
    assert singularity("build", "plain.sif", "docker://configured", cwd=place).text == ""
    return place / "plain.sif"


@pytest.fixture(scope="module")
def defined(singularity: Singularity, place: Path) -> Path:
    """A file that was built from a definition."""
    source = place / "source file"
    source.write_text("from the host\n")
    (place / "a.def").write_text(DEFINITION.format(source=f"'{source}'"))
    words = ("--fakeroot", "--build-arg", "whom=world", "a.sif", "a.def")
    ran = singularity("build", *words, cwd=place)
    assert (ran.code, ran.out) == (0, b""), ran
    return place / "a.sif"


def another_user(singularity: Singularity, place: Path) -> Singularity:
    """Somebody on another node: nothing of this store or of these caches is there."""
    place.mkdir()
    return Singularity(Home(place), place / "shims")


def test_a_file_runs_where_it_was_not_made(
    singularity: Singularity, image: Path, tmp_path: Path
) -> None:
    assert image.is_file() and not image.is_symlink()
    other = another_user(singularity, tmp_path / "other")
    moved = tmp_path / "moved"
    shutil.copy(image, moved)
    for _ in range(2):
        assert other("run", moved, "given", cwd=tmp_path).text == "given|"


def test_a_file_whose_image_is_known_is_not_read(
    singularity: Singularity, image: Path, tmp_path: Path
) -> None:
    """Its documents say which image it is, and they come before the layer, which is cut off."""
    cut = tmp_path / "cut"
    cut.write_bytes(image.read_bytes()[:20_000])
    assert singularity("run", cut, "given", cwd=tmp_path).text == "given|"


def test_a_file_that_was_cut_short_or_changed_is_refused(
    singularity: Singularity, image: Path, tmp_path: Path
) -> None:
    other = another_user(singularity, tmp_path / "other")
    whole = image.read_bytes()
    changed = bytearray(whole)
    changed[len(whole) // 2] ^= 1
    for content in (whole[: len(whole) // 2], bytes(changed), whole[:100], b""):
        damaged = tmp_path / "damaged"
        damaged.write_bytes(content)
        ran = other("exec", damaged, "true", cwd=tmp_path)
        assert ran.code == FAILED and ran.complaint
    assert other.home.call("images", "-q").text == ""


def test_the_same_image_gives_the_same_bytes(
    singularity: Singularity, image: Path, tmp_path: Path
) -> None:
    target = tmp_path / "again"
    refused = singularity("build", image, "docker://configured", cwd=tmp_path)
    assert refused.code == FAILED and "--force" in refused.complaint
    target.write_text("to be replaced")
    assert singularity("build", "--force", target, "docker://configured", cwd=tmp_path).text == ""
    assert target.read_bytes() == image.read_bytes()
    assert os.listdir(tmp_path) == ["again"]


def test_others_can_read_a_file(image: Path, tmp_path: Path, home: Home) -> None:
    said = subprocess.check_output(["skopeo", "inspect", "--config", f"oci-archive:{image}"])
    assert json.loads(said)["config"]["Entrypoint"] == ["/bin/printf", "%s|"]
    assert "Loaded image ID" in home.call("load", "-i", image).text


def test_images_come_from_everywhere(singularity: Singularity, tmp_path: Path) -> None:
    """The archive of docker save by a link, as crunch-run has it."""
    layer = shell_layer().bytes()
    docker_archive(tmp_path / "real.tar", "saved:1", layer, {"Cmd": ["echo", "saved"]})
    (tmp_path / "image.tar").symlink_to("real.tar")
    oci_layout(tmp_path / "layout", "there:1", layer, {"Cmd": ["echo", "layout"]})
    sources = {
        f"docker-archive://{tmp_path}/image.tar": "saved\n",
        "docker-archive:image.tar": "saved\n",
        f"oci:{tmp_path}/layout": "layout\n",
        "oci:layout:there:1": "layout\n",
    }
    for number, (source, printed) in enumerate(sources.items()):
        assert singularity("build", f"{number}.sif", source, cwd=tmp_path).text == ""
        assert singularity("run", f"{number}.sif", cwd=tmp_path).text == printed
    shutil.copy(tmp_path / "0.sif", tmp_path / "copy.tar")
    assert singularity("run", "oci-archive:copy.tar", cwd=tmp_path).text == "saved\n"


def test_a_definition_is_built(singularity: Singularity, defined: Path, tmp_path: Path) -> None:
    assert singularity("run", defined, "a b", "c", cwd=tmp_path).text == "hello world: a b c\n"
    script = "echo $LATE; cat /copied /given/* /renamed /made-by"
    expected = "as late as hello world\nof the first\nfrom the host\nfrom the host\n0\n"
    assert singularity("exec", defined, "sh", "-c", script, cwd=tmp_path).text == expected
    assert singularity("test", defined, cwd=tmp_path).text == "tested\n"
    forced = {"SINGULARITYENV_GREETING": "`no`", "SINGULARITYENV_PREPEND_PATH": "/first"}
    ran = singularity(
        "exec", defined, "sh", "-c", "echo $GREETING $PATH", cwd=tmp_path, more=forced
    )
    assert ran.text.startswith("`no` /first:/")


def test_a_dockerfile_that_spython_has_turned_into_a_definition_is_built(
    singularity: Singularity, tmp_path: Path
) -> None:
    """As cwltool has it done, whose requirement spython is; its writing is taken as it comes."""
    (tmp_path / "data").write_text("datum\n")
    (tmp_path / "tool.sh").write_text('echo "$GREETING: $(pwd) $(cat made)" "$@"\n')
    (tmp_path / "Dockerfile").write_text(
        "FROM busybox\nLABEL what=tool\nENV GREETING='hello there' LC_ALL=C\n"
        "COPY data tool.sh /opt/tool/\nWORKDIR /opt/tool\n"
        'RUN echo "$GREETING" $(cat data) > made && \\\n    chmod 755 tool.sh\n'
        'EXPOSE 80\nENTRYPOINT ["sh", "/opt/tool/tool.sh"]\nCMD ["one"]\n'
    )
    spython = Path(sys.executable).with_name("spython")
    words = [str(spython), "recipe", "Dockerfile", "a.def"]
    subprocess.run(words, cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    assert singularity("build", "--fakeroot", "a.sif", "a.def", cwd=tmp_path).code == 0
    expected = "hello there: /opt/tool hello there datum one two\n"
    assert singularity("run", "a.sif", "two", cwd=tmp_path).text == expected


def test_inspect_shows_what_a_definition_said(
    singularity: Singularity, defined: Path, tmp_path: Path
) -> None:
    said = json.loads(singularity("inspect", "-a", defined, cwd=tmp_path).text)
    attributes = said["data"]["attributes"]
    assert attributes["labels"] == {"Author": "me"}
    assert "GREETING=" in attributes["environment"]["/.singularity.d/env/90-environment.sh"]
    assert attributes["deffile"].startswith("# made by hand\n")
    assert "There is none." in attributes["helpfile"]
    assert singularity("inspect", defined, cwd=tmp_path).text == "Author: me\n"


def test_a_definition_begins_with_a_file_or_a_sandbox(
    singularity: Singularity, defined: Path, tmp_path: Path
) -> None:
    (tmp_path / "b.def").write_text(
        f"Bootstrap: localimage\nFrom: {defined}\n%runscript\ncat /copied\n"
    )
    singularity("build", "b.sif", "b.def", cwd=tmp_path)
    assert singularity("run", "b.sif", cwd=tmp_path).text == "of the first\n"
    assert singularity("build", "--sandbox", "tree", "b.sif", cwd=tmp_path).text == ""
    (tmp_path / "c.def").write_text("Bootstrap: localimage\nFrom: tree\n%post\necho c > /c\n")
    singularity("build", "c.sif", "c.def", cwd=tmp_path)
    assert (
        singularity("exec", "c.sif", "cat", "/c", "/copied", cwd=tmp_path).text
        == "c\nof the first\n"
    )


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("Bootstrap: docker\n", "no line From:"),
        ("Bootstrap: library\nFrom: x\n", "no images from 'library'"),
        ("Bootstrap: docker\nFrom: busybox\n%setup\ntouch /x\n", ":3: %setup"),
        ("Bootstrap: docker\nFrom: busybox\n%nothing\n", ":3: no section %nothing"),
        ("Bootstrap: docker\nFrom: {{ what }}\n", ":2: 'what' has no value"),
        ("Bootstrap: docker\nFrom: busybox\n%files\n/no/such /x\n", "'/no/such', which is not"),
        ("Bootstrap: docker\nFrom: busybox\n%post\nexit 3\n", "exit code 3"),
    ],
)
def test_a_definition_that_cannot_be_built_leaves_no_file(
    singularity: Singularity, tmp_path: Path, text: str, complaint: str
) -> None:
    (tmp_path / "a.def").write_text(text)
    ran = singularity("build", "a.sif", "a.def", cwd=tmp_path)
    assert ran.code != 0 and complaint in ran.complaint
    assert os.listdir(tmp_path) == ["a.def"]


def test_a_sandbox_is_run_where_it_is_and_changed_on_demand(
    home: Home, singularity: Singularity, tmp_path: Path
) -> None:
    """And what is beside it can be seen, which engines cover where a store's trees are."""
    ran = singularity("build", "--sandbox", "tree", "docker://configured", cwd=tmp_path)
    assert ran.text == ""
    (tmp_path / "beside").write_text("beside\n")
    before = manifest(tmp_path / "tree")
    for name in ("userns", "proot"):
        engine = {"CWL_USERSPACE_ENGINE": name, "CWL_USERSPACE_ON_UNMET": "copy"}
        words = ("exec", "-B", "beside:/mnt/x", "tree", "sh", "-c", "cat /mnt/x; echo $FROM_IMAGE")
        assert singularity(*words, cwd=tmp_path, more=engine).text == "beside\nis set\n"
        singularity("exec", "tree", "touch", "/x", cwd=tmp_path, more=engine)
        assert manifest(tmp_path / "tree") == before
    engine["CWL_USERSPACE_ON_UNMET"] = "refuse"
    refused = singularity("exec", "tree", "true", cwd=tmp_path, more=engine)
    assert refused.code == FAILED and "lets the container write" in refused.complaint
    # The engine has not failed, so what is known of it counts.
    assert list((home.place / "cache" / "cwl-userspace").glob("probe-proot-*.json"))
    assert singularity("run", "tree", "given", cwd=tmp_path).text == "given|"
    assert singularity("exec", "--writable", "tree", "touch", "/kept", cwd=tmp_path).text == ""
    assert (tmp_path / "tree" / "kept").exists()
    assert singularity("build", "of-tree.sif", "tree", cwd=tmp_path).text == ""
    assert singularity("exec", "of-tree.sif", "ls", "/kept", cwd=tmp_path).text == "/kept\n"
    said = json.loads(singularity("inspect", "--json", "tree", cwd=tmp_path).text)
    assert said["data"]["attributes"]  # cwltool takes the directory for a sandbox only with these


def sif(squashfs: bytes, kind: int = 1) -> bytes:
    """A SIF file with one partition, the root, as sif's own specification has it."""
    launch = b"#!/usr/bin/env run-singularity\n\0"
    header = struct.pack(
        "<10s3s3s16s8q", b"SIF_MAGIC", b"01", b"02", b"", 0, 0, 0, 1, 128, 585, 1024, 0
    )
    descriptor = struct.pack("<i?III7q", 0x4004, True, 1, 1, 0, 1024, len(squashfs), 0, 0, 0, 0, 0)
    descriptor += b"root".ljust(128, b"\0") + struct.pack("<ii", kind, 2).ljust(384, b"\0")
    return (launch + header).ljust(128, b"\0") + descriptor.ljust(896, b"\0") + squashfs


def test_a_file_of_singularitys_own_is_run(
    singularity: Singularity, defined: Path, tmp_path: Path
) -> None:
    assert singularity("build", "--sandbox", "tree", defined, cwd=tmp_path).text == ""
    squash = ["mksquashfs", "tree", "tree.squashfs", "-no-progress", "-quiet"]
    subprocess.run(squash, cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    content = (tmp_path / "tree.squashfs").read_bytes()
    (tmp_path / "real.sif").write_bytes(sif(content))
    (tmp_path / "old.simg").write_bytes(b"#!/usr/bin/env run-singularity\n" + content)
    for name in ("real.sif", "old.simg", "tree.squashfs"):
        for _ in range(2):
            ran = singularity("run", name, "x", cwd=tmp_path)
            assert ran.text == "hello world: x\n"
    (tmp_path / "encrypted.sif").write_bytes(sif(content, kind=5))
    (tmp_path / "cut.sif").write_bytes(sif(content)[: len(content) // 2])
    for name, complaint in (("encrypted.sif", "encrypted"), ("cut.sif", "without a whole root")):
        ran = singularity("run", name, cwd=tmp_path)
        assert ran.code == FAILED and complaint in ran.complaint


def test_an_instance_goes_on_and_is_joined(
    singularity: Singularity, defined: Path, tmp_path: Path
) -> None:
    """As StreamFlow does it; the image's own script was executed."""
    words = ("--cleanenv", "--contain", "--bind", f"{tmp_path}:/out", "--net", "--network=none")
    begun = singularity("instance", "start", *words, defined, "one", "/out/it", cwd=tmp_path)
    assert (begun.code, begun.out) == (0, b""), begun
    try:
        again = singularity("instance", "start", defined, "one", cwd=tmp_path)
        assert again.code == FAILED and "'one' runs already" in again.complaint
        said = json.loads(singularity("instance", "list", "--json", cwd=tmp_path).text)
        (found,) = said["instances"]
        assert found["instance"] == "one" and found["img"] == str(defined)
        assert Path(f"/proc/{found['pid']}").exists()
        script = "echo $GREETING $A > /tmp/x; cat /tmp/x; exit 4"
        ran = singularity(
            "exec", "instance://one", "sh", "-c", script, cwd=tmp_path,
            more={"SINGULARITYENV_A": "a"},
        )  # fmt: skip
        assert (ran.code, ran.out) == (4, b"hello world a\n")
        kept = singularity("exec", "instance://one", "cat", "/tmp/x", "/out/it", cwd=tmp_path)
        assert kept.text == "hello world a\nstarted\n"
    finally:
        assert singularity("instance", "stop", "one", cwd=tmp_path).text == ""
    assert (
        json.loads(singularity("instance", "list", "--json", cwd=tmp_path).text)["instances"] == []
    )
    gone = singularity("exec", "instance://one", "true", cwd=tmp_path)
    assert gone.code == FAILED and "no instance 'one'" in gone.complaint


def test_an_image_is_in_use_as_long_as_an_instance_runs(
    singularity: Singularity, home: Home, tmp_path: Path
) -> None:
    """Whoever has started the instance is gone by then."""
    image = home.add("instanced", shell_layer().file("own").bytes())
    before = set(os.listdir(home.place / "store/leases"))
    failed = singularity("instance", "start", "-B", "/no/such", f"docker://{image}", "two",
                         cwd=tmp_path)  # fmt: skip
    assert failed.code == FAILED and "'/no/such' of -B does not exist" in failed.complaint
    assert set(os.listdir(home.place / "store/leases")) <= before
    words = ("instance", "start", f"docker://{image}", "two")
    assert singularity(*words, cwd=tmp_path).text == ""
    try:
        kept = home.call("rmi", image)
        assert kept.code == 125 and f"{image} is in use by process" in kept.complaint
        assert singularity("exec", "instance://two", "true", cwd=tmp_path).text == ""
    finally:
        assert singularity("instance", "stop", "two", cwd=tmp_path).text == ""
    assert home.call("rmi", image).code == 0


def test_the_cache_is_where_the_variable_says(
    singularity: Singularity, image: Path, tmp_path: Path
) -> None:
    bare = {k: v for k, v in singularity.environment.items() if k != "CWL_USERSPACE_HOME"}
    given = {**bare, "SINGULARITY_CACHEDIR": str(tmp_path / "cache")}
    (tmp_path / "copy.sif").write_bytes(image.read_bytes())
    words = ("run", "copy.sif", "given")
    assert singularity(*words, cwd=tmp_path, environment=given).text == "given|"
    assert (tmp_path / "cache" / "cwl-userspace" / "trees").is_dir()
    assert singularity("cache", "list", cwd=tmp_path, environment=given).code == 0
    assert singularity("cache", "clean", "--force", cwd=tmp_path, environment=given).code == 0
    assert list((tmp_path / "cache" / "cwl-userspace" / "trees").iterdir()) == []
    assert singularity(*words, cwd=tmp_path, environment=given).text == "given|"
