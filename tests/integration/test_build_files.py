"""COPY, ADD, .dockerignore, stages and the other instructions that need no engine."""

from __future__ import annotations

import gzip
import http.server
import os
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests import tars
from tests.building import Workshop, facts, names
from tests.containers import Home, Tar
from tests.images import Layout, config_json, sha256


@pytest.fixture
def shop(home: Home, tmp_path: Path) -> Workshop:
    place = tmp_path / "context"
    place.mkdir()
    return Workshop(home, place)


@pytest.fixture
def files(shop: Workshop) -> Workshop:
    """A context with some of everything."""
    shop.write("one", "1")
    shop.write("two.txt", "2", 0o600)
    shop.write("dir/three.txt", "3", 0o755)
    shop.write("dir/deep/four", "4")
    (shop.context / "dir/link").symlink_to("three.txt")
    (shop.context / "dir/broken").symlink_to("/no/such")
    (shop.context / "to-one").symlink_to("one")
    os.link(shop.context / "dir/deep/four", shop.context / "dir/deep/five")
    return shop


DIR = {"three.txt", "deep", "deep/four", "deep/five", "link", "broken"}


def added(shop: Workshop, *lines: str, base: str = "bare", **given: Any) -> set[str]:
    """What instructions add to an image."""
    before = names(shop.home.tree(base))
    return names(shop.built("\n".join([f"FROM {base}", *lines]), **given)) - before


@pytest.mark.parametrize(
    ("instruction", "expected"),
    [
        ("COPY one /new", {"new"}),
        ("COPY one /new/", {"new", "new/one"}),
        ("COPY one /opt", {"opt/one"}),
        ("COPY one .", {"one"}),
        ("COPY one two.txt /new/", {"new", "new/one", "new/two.txt"}),
        ('COPY ["one", "/with space/"]', {"with space", "with space/one"}),
        ("COPY *.txt /new/", {"new", "new/two.txt"}),
        ("COPY */*.t?t /new/", {"new", "new/three.txt"}),
        ("COPY [no]ne /x", {"x"}),
        ("COPY dir /new", {"new"} | {f"new/{name}" for name in DIR}),
        ("COPY dir/ /new/", {"new"} | {f"new/{name}" for name in DIR}),
        ("COPY d?r/deep /opt", {"opt/four", "opt/five"}),
        ("COPY --exclude=deep --exclude=*.txt dir /new", {"new", "new/link", "new/broken"}),
        ("COPY to-one /new", {"new"}),
        ("COPY /one /new", {"new"}),
        ("COPY ./dir/../one new", {"new"}),
        ("ADD one /a/b/c/", {"a", "a/b", "a/b/c", "a/b/c/one"}),
        ("COPY <<first <<second /new/\n1\nfirst\n2\nsecond", {"new", "new/first", "new/second"}),
        ("WORKDIR /a/b\nCOPY one c/", {"a", "a/b", "a/b/c", "a/b/c/one"}),
    ],
)
def test_copies_go_where_docker_puts_them(
    files: Workshop, instruction: str, expected: set[str]
) -> None:
    assert added(files, instruction) == expected


def test_copies_keep_modes_times_and_links(files: Workshop) -> None:
    tree = files.built("FROM bare\nCOPY . /new")
    copied = facts(tree / "new", times=True)
    assert copied == facts(files.context, times=True)
    assert (tree / "new").stat().st_mode & 0o777 == 0o755
    assert os.path.samefile(tree / "new/dir/deep/four", tree / "new/dir/deep/five")


def test_copies_leave_directories_that_are_there_as_they_are(files: Workshop) -> None:
    tree = files.built("FROM busybox\nCOPY dir /root\nCOPY one /tmp/")
    old = files.home.tree("busybox")
    for name in ("", "root", "tmp"):
        one, other = (old / name).stat(), (tree / name).stat()
        assert (one.st_mode, int(one.st_mtime)) == (other.st_mode, int(other.st_mtime))


def test_a_mode_can_be_given(files: Workshop) -> None:
    tree = files.built("FROM bare\nARG MODE=0710\nCOPY --chmod=$MODE --chown=1:2 --link dir /new")
    modes = {n: f[0] for n, f in facts(tree / "new").items() if not str(f[0]).startswith("l")}
    assert modes == {
        "three.txt": "-rwx--x---",
        "deep": "drwx--x---",
        "deep/four": "-rwx--x---",
        "deep/five": "-rwx--x---",
    }


def test_documents_are_expanded_unless_their_name_is_quoted(shop: Workshop) -> None:
    text = """
FROM bare
ENV WHO=you
COPY <<A <<"B" /new/
hello $WHO "$WHO" \\$WHO
A
hello $WHO
B
COPY <<-C /opt/file
\tno tab
\tC
"""
    tree = shop.built(text)
    assert (tree / "new/A").read_text() == 'hello you "you" $WHO\n'
    assert (tree / "new/B").read_text() == "hello $WHO\n"
    assert (tree / "opt/file").read_text() == "no tab\n"


@pytest.mark.parametrize(
    ("instruction", "said"),
    [
        ("COPY nothing /", "'nothing' is not in the context"),
        ("COPY no*.x /", "'no*.x' is not in the context"),
        ("COPY ../secret /", "'../secret', which is outside of the context"),
        ("COPY out /", "'out' is not in the context"),
        ("COPY outside/secret /", "'outside/secret' is not in the context"),
        ("COPY loop /", "'loop' is not in the context"),
        ("COPY a b /new", "several sources, but the target '/new'"),
        ("COPY a", "has no target"),
        ("COPY . /opt/busybox", "is a file, and so no place for a directory"),
        ("COPY --from=later a /", "takes from the stage 'later', which comes later"),
        ("COPY --wrong a /", "the flag --wrong"),
        ("COPY --chmod=u+x a /", "--chmod=u+x"),
        ("ADD git@example.org:x.git /", "which is not supported"),
        ("RUN --mount=type=secret,id=x cat", "a mount of the type 'secret'"),
        ("RUN --mount=target=x,source=nothing cat", "'nothing' is not in the context"),
        ("RUN --mount=target=x,ro=yes cat", "a mount with 'ro=yes'"),
        ("RUN --mount=target=x,source cat", "a mount with 'source', which has no value"),
        ("RUN --security=insecure true", "not supported"),
        ("COPY .wh.x /", "the file '.wh.x', which cannot be part of an image"),
        ("COPY [z-a] /", "'[z-a]' is not in the context"),
        ("EXPOSE http", "the port 'http'"),
        ("EXPOSE 80-99999999999", "expected numbers of up to 65535"),
        ("ONBUILD FROM x", "has FROM, which cannot be put off"),
        ("HEALTHCHECK --interval=x CMD a", "the duration 'x'"),
        ("ENV A", "no value"),
        ("SHELL /bin/sh", "expected a JSON array"),
        ("LABEL a=${X", "unknown modifier"),
    ],
)
def test_what_cannot_be_done_is_refused_with_its_line(
    shop: Workshop, instruction: str, said: str
) -> None:
    (shop.context.parent / "secret").write_text("secret")
    (shop.context / "out").symlink_to("../secret")
    (shop.context / "outside").symlink_to("..")
    (shop.context / "loop").symlink_to("loop")
    for name in ("a", "b", ".wh.x"):
        shop.write(name)
    ran = shop.build(f"FROM bare\n\n{instruction}\nFROM bare AS later", "--target=0")
    line = ran.err.decode().splitlines()[-1]
    assert ran.code == 1
    assert line.startswith("cwl-userspace: line 3 of Dockerfile: ") and "; " in line, line
    assert said in line


def test_no_link_of_an_image_leads_a_copy_out_of_it(shop: Workshop) -> None:
    tar = Tar().link("abs", "/etc/inside").link("up", "../../../../../../etc/inside")
    tar.directory("etc").link("etc/secret", f"{shop.context}/secret").link("loop", "loop")
    shop.home.add("hostile", tar.bytes())
    shop.write("x/deep/f", "x")
    shop.write("secret", "secret")
    tree = shop.built("FROM hostile\nCOPY x /abs\nCOPY x /up\nCOPY x/deep/f /etc/secret/")
    assert (tree / "etc/inside/deep/f").read_text() == "x"
    assert (shop.context / "secret").read_text() == "secret"
    assert (tree / f"{shop.context}/secret/f".lstrip("/")).read_text() == "x"
    ran = shop.build("FROM bare\nCOPY --from=hostile /etc/secret /")
    assert b"'/etc/secret' is not in 'hostile'" in ran.err


def test_a_directory_over_a_link_to_a_directory_goes_through_it(shop: Workshop) -> None:
    shop.home.add(
        "merged", Tar().directory("usr").directory("usr/lib").link("lib", "usr/lib").bytes()
    )
    shop.write("root/lib/x", "x")
    tree = shop.built("FROM merged\nCOPY root /")
    assert (tree / "lib").is_symlink()
    assert (tree / "usr/lib/x").read_text() == "x"


def test_what_dockerignore_leaves_out_is_not_there(files: Workshop) -> None:
    files.write(".dockerignore", "# not these\n*\n!dir\ndir/**/four\n!one\n")
    assert added(files, "COPY . /new") == {"new", "new/one", "new/dir"} | {
        f"new/dir/{name}" for name in DIR - {"deep/four"}
    }
    assert b"'two.txt' is not in the context" in files.build("FROM bare\nCOPY two.txt /").err
    files.write("Dockerfile.dockerignore", "dir")
    assert added(files, "COPY two.txt /new") == {"new"}


def test_archives_of_the_context_are_unpacked_by_add(shop: Workshop) -> None:
    tar = Tar().directory("in").file("in/a", b"a", 0o4755).link("in/l", "../../../etc")
    tar.file("in/l/through", b"x")
    (shop.context / "a.tar.gz").write_bytes(gzip.compress(tar.bytes()))
    shop.write("not.tar", "no archive")
    expected = {
        "new",
        "new/in",
        "new/in/a",
        "new/in/l",
        "new/not.tar",
        "new/etc",
        "new/etc/through",
    }
    assert added(shop, "ADD a.tar.gz not.tar /new/") == expected
    shop.write("bare.git/HEAD", "a directory, and no address")
    assert added(shop, "ADD bare.git /new/") == {"new", "new/HEAD"}
    assert added(shop, "COPY a.tar.gz /new/") == {"new", "new/a.tar.gz"}
    assert (shop.tree / "new/a.tar.gz").read_bytes() == (shop.context / "a.tar.gz").read_bytes()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A web server on loopback, and what it serves beside it."""
    place = tmp_path / "served"
    place.mkdir()
    (place / "data.txt").write_text("served")
    (place / "a.tar").write_bytes(Tar().file("in", b"x").bytes())
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(place))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_addresses_are_fetched_by_add_and_not_unpacked(shop: Workshop, server: str) -> None:
    tree = shop.built(f"FROM bare\nADD {server}/data.txt?x=1 {server}/a.tar /new/")
    assert facts(tree / "new").keys() == {"data.txt", "a.tar"}
    assert (tree / "new/data.txt").read_text() == "served"
    assert facts(tree / "new")["data.txt"][0] == "-rw-------"
    good = "a2a1dd3d9b2b0f4e2a1d6e9d0f5c5b9e" * 2
    ran = shop.build(f"FROM bare\nADD --checksum=sha256:{good} {server}/data.txt /new")
    assert ran.code == 1 and b"with the digest sha256:" in ran.err
    ran = shop.build(f"FROM bare\nADD {server}/nothing /new")
    assert ran.code == 125 and b"404" in ran.err


def test_stages_and_images_are_copied_from(files: Workshop) -> None:
    text = """
FROM scratch AS first
COPY dir /a
FROM first AS second
COPY one /a/
FROM scratch
COPY --from=first /a/three.txt /x
COPY --from=1 /a/one /
COPY --from=busybox /etc/passwd /etc/
COPY --from=second /a/deep /deep
"""
    assert names(files.built(text)) == {
        *("x", "one", "etc", "etc/passwd", "deep", "deep/four", "deep/five")
    }


def test_only_what_a_target_needs_is_built(files: Workshop) -> None:
    text = """
FROM bare AS base
COPY one /one
FROM bare AS broken
COPY nothing /
FROM base AS Wanted
COPY --from=0 /one /two
FROM broken
"""
    ran = files.build(text, "--target", "wanted")
    assert ran.code == 0, ran.err
    assert b"STEP 4/4: COPY --from=0 /one /two" in ran.err
    assert b"nothing" not in ran.err
    assert {"one", "two"} <= names(files.tree)
    ran = files.build(text, "--target", "other")
    assert ran.code == 1 and b"no stage 'other'" in ran.err


def test_arguments_are_those_of_docker(shop: Workshop) -> None:
    text = """
ARG BASE=wrong TAG=latest
ARG WHOLE=$BASE:$TAG
FROM --platform=$BUILDPLATFORM $WHOLE AS one
ARG BASE
ARG TAG=other
ARG MISSING
ARG TARGETARCH
ENV SEEN="$BASE/$TAG/$MISSING/$WHOLE/${TARGETARCH:+arch}"
FROM one
ENV AFTER="$TAG$SEEN"
LABEL copy=${SEEN%%/*} two=2
"""
    given = ("--build-arg", "BASE=bare", "--build-arg", "UNUSED=x", "--label", "two=3")
    ran = shop.build(text, *given)
    assert ran.code == 0, ran.err
    assert shop.config()["Env"] == ["SEEN=bare/other///arch", "AFTER=bare/other///arch"]
    assert shop.config()["Labels"] == {"copy": "bare", "two": "3"}
    assert b"the build argument UNUSED was not used\n" in ran.err


def test_everything_that_is_said_of_an_image_is_in_its_configuration(shop: Workshop) -> None:
    text = """
FROM configured
MAINTAINER Some Body <some@body>
ENV A=1 B="two words" FROM_IMAGE=changed
ENV C $A of $B
LABEL "a b"=c
LABEL d e f
EXPOSE 80 8000-8001/udp $A
VOLUME ["/data", "/more"]
VOLUME /x /y
STOPSIGNAL SIGINT
HEALTHCHECK --interval=1m30s --timeout=500ms --retries=3 CMD curl $A
SHELL ["/bin/sh", "-ec"]
WORKDIR rel/$A
USER tool:other
ENTRYPOINT run $A
"""
    shop.built(text)
    assert shop.config() == {
        "Env": [
            *("FROM_IMAGE=changed", "PATH=/data/bin:/bin", "LD_PRELOAD=/no/such.so", "EMPTY="),
            *("A=1", "B=two words", "C=1 of two words"),
        ],
        "Labels": {"a b": "c", "d": "e f"},
        "ExposedPorts": {"80/tcp": {}, "8000/udp": {}, "8001/udp": {}, "1/tcp": {}},
        "Volumes": {name: {} for name in ("/data", "/more", "/x", "/y")},
        "StopSignal": "SIGINT",
        "Healthcheck": {
            "Test": ["CMD-SHELL", "curl $A"],
            "Interval": 90_000_000_000,
            "Timeout": 500_000_000,
            "Retries": 3,
        },
        "Shell": ["/bin/sh", "-ec"],
        "WorkingDir": "/data/work dir/rel/1",
        "User": "tool:other",
        "Entrypoint": ["/bin/sh", "-ec", "run $A"],
    }
    document = shop.document()
    assert document["author"] == "Some Body <some@body>"
    assert [entry["created_by"].split()[0] for entry in document["history"]] == [
        line.split()[0] for line in text.strip().splitlines()[1:]
    ]
    layers = [entry for entry in document["history"] if not entry.get("empty_layer")]
    assert len(layers) == len(document["rootfs"]["diff_ids"]) - 1  # the base's says nothing


def test_an_image_may_have_null_where_docker_has_nothing(shop: Workshop, tmp_path: Path) -> None:
    layer, layout = tars.layer(tars.file("file", b"")), Layout()
    empty = dict.fromkeys(("Env", "Cmd", "Labels", "Volumes", "ExposedPorts", "OnBuild"))
    document = config_json([sha256(layer)], config=empty, history=None)
    layout.entry(layout.manifest([layer], config=document), "nothing:1")
    assert shop.home.call("load", "-i", layout.directory(tmp_path / "nothing")).code == 0
    text = "FROM nothing:1\nLABEL a=b\nVOLUME /data\nEXPOSE 80\nONBUILD ENV A=1\nENV B=2\n"
    shop.built(text, "--label", "c=d")
    assert shop.config() == {
        "Labels": {"a": "b", "c": "d"},
        "Volumes": {"/data": {}},
        "ExposedPorts": {"80/tcp": {}},
        "OnBuild": ["ENV A=1"],
        "Env": ["B=2"],
    }


def test_a_command_of_the_dockerfile_outlives_its_entrypoint(shop: Workshop) -> None:
    shop.built('FROM configured\nCMD ["x"]\nENTRYPOINT ["y"]')
    assert (shop.config()["Entrypoint"], shop.config()["Cmd"]) == (["y"], ["x"])


def test_what_a_base_image_put_off_is_done_first(files: Workshop) -> None:
    files.built(
        "FROM bare\nONBUILD ENV LATER=1\nONBUILD COPY one /from-$LATER\nONBUILD COPY <<E /e\nx\nE\n"
    )
    assert files.config()["OnBuild"] == [
        "ENV LATER=1",
        "COPY one /from-$LATER",
        "COPY <<E /e\nx\nE",
    ]
    assert "from-1" not in names(files.tree)
    files.home.call("build", "-t", "putting-off", files.context)
    tree = files.built("FROM putting-off\nENV MORE=$LATER")
    assert {"from-1", "e"} <= names(tree)
    assert "OnBuild" not in files.config()
    assert "MORE=1" in files.config()["Env"]


def test_a_dockerfile_and_a_context_come_over_standard_input(files: Workshop) -> None:
    dockerfile = b"FROM bare\nCOPY one /one\n"
    ran = files.home.call("build", "-t", "piped", "-f", "-", files.context, stdin=dockerfile)
    assert ran.code == 0 and "one" in names(files.home.tree("piped"))
    ran = files.home.call("build", "-t", "piped", "-", stdin=b"FROM bare\nENV A=1\n")
    assert ran.code == 0, ran.err
    tar = Tar().file("Dockerfile", b"FROM bare\nCOPY sub /sub\n").file("sub/x", b"x")
    for data in (tar.bytes(), gzip.compress(tar.bytes())):
        ran = files.home.call("build", "-t", "piped", "-", stdin=data)
        assert ran.code == 0, ran.err
        assert "sub/x" in names(files.home.tree("piped"))
    ran = files.home.call("build", "-", stdin=b"FROM bare\nCOPY one /one\n")
    assert ran.code == 1 and b"'one' is not in the context" in ran.err


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ([], 125),
        (["/no/such"], 125),
        (["-t", "NOT A NAME", "."], 125),
        (["--network=other", "."], 125),
        (["--wrong", "."], 125),
        (["https://example.org/x.git"], 125),
        (["-f", "/no/such", "."], 1),
        (["."], 1),
    ],
)
def test_words_that_have_no_meaning_are_refused(
    home: Home, tmp_path: Path, words: list[str], code: int
) -> None:
    ran = home.call("build", *words, cwd=tmp_path)
    assert ran.code == code
    assert ran.complaint
