"""Steps of a Dockerfile that run, with each engine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.building import Workshop, facts, names
from tests.containers import ENGINES, UNCOUNTED, Box, Home, all_gone, marker, waiting
from tests.integration.test_network import port

__all__ = ["port"]

# What a packager does: accounts, owners, modes, links, and things that no layer can hold.
BUSY = r"""
FROM busybox AS tools
RUN mkdir -p /opt/tool/bin && cat > /opt/tool/bin/tool <<EOF
#!/bin/sh
echo run by \$(id -un): "\$@"
EOF
RUN chmod 755 /opt/tool/bin/tool
FROM busybox
ARG SUFFIX=one
ENV TOOL_HOME=/opt/tool
RUN <<EOF
set -e
mkdir -p "$TOOL_HOME" /srv/shared /srv/closed
chown -R tool:toolgroup /srv/shared
chmod 2775 /srv/shared
echo data-$SUFFIX > /srv/shared/data
ln /srv/shared/data /srv/again
ln -s ../shared/data /srv/closed/link
cp /bin/busybox /opt/busybox && chown root:root /opt/busybox && chmod 4755 /opt/busybox
mkfifo /srv/pipe
chmod 500 /srv/closed
rm -r /var/tmp /etc/group
echo kept > /tmp/kept
echo worker:x:4321:4321::/home/worker:/bin/sh >> /etc/passwd
mkdir -m 777 /home/worker
EOF
COPY --from=tools --chown=worker /opt/tool $TOOL_HOME
WORKDIR /home/worker
USER worker
RUN id -un > who && pwd >> who && ls /srv/shared >> who
ENTRYPOINT ["/opt/tool/bin/tool", "first"]
CMD ["second"]
"""


@pytest.fixture
def shop(box: Box, tmp_path: Path) -> Workshop:
    return Workshop(box.home, tmp_path, box.engine)


def test_a_dockerfile_builds_to_the_same_files_with_every_engine(
    home: Home, tmp_path: Path
) -> None:
    trees = {}
    for engine in ENGINES:
        (tmp_path / engine).mkdir()
        shop = Workshop(home, tmp_path / engine, engine)
        trees[engine] = facts(shop.built(BUSY))
        assert shop.run().text == "run by worker: first second\n"
        assert shop.run("other").text == "run by worker: first other\n"
    first = trees.pop(ENGINES[0])
    assert {engine: dict(tree.items() ^ first.items()) for engine, tree in trees.items()} == {
        engine: {} for engine in trees
    }
    assert first["srv/shared/data"] == first["srv/again"]
    assert first["srv/closed"][0] == "dr-x------"
    assert first["opt/busybox"][0] == "-rwxr-xr-x"
    assert first["srv/shared"][0] == "drwxrwxr-x"
    assert {"tmp/kept", "opt/tool/bin/tool", "srv/closed/link"} <= first.keys()
    assert not {"var/tmp", "etc/group", "srv/pipe"} & first.keys()


def test_a_step_leaves_nothing_of_its_container_in_the_image(shop: Workshop) -> None:
    before = facts(shop.home.tree("bare"), times=True)
    shop.built('FROM bare\nRUN ["/opt/busybox", "true"]')
    assert facts(shop.tree, times=True) == before
    assert len(shop.document()["rootfs"]["diff_ids"]) == 1
    assert shop.document()["history"][-1]["empty_layer"]


def test_a_step_that_changes_a_file_gives_one_layer_with_that_file(shop: Workshop) -> None:
    before = names(shop.home.tree("bare"))
    shop.built('FROM bare\nRUN ["/opt/busybox", "touch", "/opt/new"]')
    assert names(shop.tree) == {*before, "opt/new"}
    assert len(shop.document()["rootfs"]["diff_ids"]) == 2


def test_steps_are_roots_and_change_owners(shop: Workshop) -> None:
    ran = shop.build("FROM busybox\nRUN id -u && touch /x && chown 1234:2345 /x && echo owned")
    assert (ran.code, ran.err.splitlines()[-2:]) == (0, [b"0", b"owned"])
    assert (shop.tree / "x").stat().st_uid == os.geteuid()


def test_output_and_progress_go_to_standard_error(shop: Workshop) -> None:
    ran = shop.build("FROM busybox\nRUN echo to out; echo to err >&2")
    identifier = shop.home.call("inspect", "-f", "{{.Id}}", shop.image).out
    assert ran.out == identifier
    assert ran.err.decode().splitlines() == [
        "STEP 1/2: FROM busybox",
        "STEP 2/2: RUN echo to out; echo to err >&2",
        "to out",
        "to err",
    ]


def test_a_quiet_build_prints_the_id_alone(shop: Workshop, tmp_path: Path) -> None:
    file = tmp_path / "id"
    ran = shop.build("FROM busybox\nRUN echo said", "-q", "--iidfile", file)
    assert ran.text.strip() == file.read_text()
    assert shop.home.call("inspect", file.read_text()).code == 0


def test_a_quiet_build_that_fails_shows_what_the_steps_said(shop: Workshop) -> None:
    ran = shop.build("FROM busybox\nRUN echo said\nRUN echo more; exit 3", "-q")
    assert (ran.code, ran.out) == (1, b"")
    assert ran.err.startswith(b"said\nmore\ncwl-userspace: ")


def test_a_step_that_fails_is_named_with_its_line_and_code(shop: Workshop) -> None:
    before = shop.home.call("images", "-q").out
    ran = shop.build("FROM busybox\n\nRUN exit 42\nRUN touch /after")
    assert (ran.code, ran.out) == (1, b"")
    line = ran.err.decode().splitlines()[-1]
    assert line == (
        "cwl-userspace: line 3 of Dockerfile: 'RUN exit 42' ended with the exit code 42; "
        "what it printed is above"
    )
    assert shop.home.call("images", "-q").out == before
    assert shop.leftovers == []


def test_a_program_that_is_not_there_fails_as_in_a_container(shop: Workshop) -> None:
    ran = shop.build('FROM busybox\nRUN ["/no/such/program"]')
    assert ran.code == 1
    assert b"ended with the exit code 127" in ran.err
    assert b"/no/such/program" in ran.err.splitlines()[-2]


def test_commands_are_given_in_every_form(shop: Workshop) -> None:
    shop.write("script", "from a file\n")
    tree = shop.built(
        """
FROM busybox
RUN ["sh", "-c", "echo '$HOME' > /exec"]
RUN echo $0 "$HOME" > /shell
RUN <<A cat > /document
of $HOME
A
RUN cat <<A <<'B' > /two; cat /two /two > /four
first
A
second $HOME
B
RUN <<A
echo one > /lines
echo two >> /lines
A
RUN <<"A"
#!/bin/awk -f
BEGIN { print "by awk" > "/awk" }
A
SHELL ["/bin/sh", "-ec"]
RUN false || true; echo "$0" > /other; for i in 1 2; do \\
      echo $i >> /other; \\
    done
"""
    )
    read = {name: (tree / name).read_text() for name in ("exec", "shell", "lines", "awk", "other")}
    assert read == {
        "exec": "$HOME\n",
        "shell": "/bin/sh /root\n",
        "lines": "one\ntwo\n",
        "awk": "by awk\n",
        "other": "/bin/sh\n1\n2\n",
    }
    assert (tree / "document").read_text() == "of /root\n"
    assert (tree / "two").read_text() == "second $HOME\n"


def test_a_step_sees_the_images_variables_and_arguments_and_none_of_the_hosts(
    shop: Workshop,
) -> None:
    tree = shop.built(
        """
FROM configured
ARG GIVEN
ARG DEFAULT=default
ARG FROM_IMAGE=hidden
ARG UNSET
ENV PATH=/bin LD_PRELOAD= MADE="$GIVEN $DEFAULT $UNSET$FROM_IMAGE"
USER root
RUN env | sort > /seen; cat > /input
""",
        *("--build-arg", "GIVEN=given", "--build-arg", "PASSED", "--build-arg", "http_proxy=p:1"),
        environment={"SECRET": "of the host", "PASSED": "not declared", **UNCOUNTED},
        stdin=b"not for a step",
    )
    seen = (tree / "seen").read_text().splitlines()
    assert [line for line in seen if not line.startswith(("PWD=", "SHLVL="))] == [
        "DEFAULT=default",
        "EMPTY=",
        "FROM_IMAGE=is set",
        "GIVEN=given",
        "HOME=/root",
        "HOSTNAME=build",
        "LD_PRELOAD=",
        "MADE=given default is set",
        "PATH=/bin",
        "http_proxy=p:1",
    ]
    assert (tree / "input").read_text() == ""
    assert "p:1" not in json.dumps(shop.document())


def test_a_step_runs_as_the_images_user_in_its_directory(shop: Workshop) -> None:
    tree = shop.built(
        """
FROM busybox
WORKDIR /made/for
WORKDIR it
RUN chmod 777 . && pwd > where
USER tool
RUN id -u > who
USER 77:88
RUN id > number
"""
    )
    assert (tree / "made/for/it/where").read_text() == "/made/for/it\n"
    assert (tree / "made/for/it/who").read_text() == "1234\n"
    assert (tree / "made/for/it/number").read_text().startswith("uid=77")


def test_a_network_that_is_off_is_off_for_steps(shop: Workshop, port: int) -> None:
    asks = f"RUN nc -w 2 127.0.0.1 {port} < /dev/null && touch /reached; true"
    assert (shop.built(f"FROM busybox\n{asks}") / "reached").exists()
    assert not (shop.built(f"FROM busybox\n{asks}", "--network", "none") / "reached").exists()
    flagged = asks.replace("RUN", "RUN --network=none")
    assert not (shop.built(f"FROM busybox\n{flagged}") / "reached").exists()


def test_mounts_are_there_for_one_step_alone(shop: Workshop) -> None:
    shop.write("part/input", "from the context\n")
    text = """
FROM busybox AS other
RUN echo from a stage > /output
FROM busybox
RUN --mount=source=part,target=/mnt/in cat /mnt/in/input > /one && ! touch /mnt/in/x
RUN --mount=type=bind,from=other,source=/output,target=/stage cat /stage > /two
RUN --mount=source=.,target=/all,rw touch /all/new && ls /all > /three
RUN --mount=source=part,target=/a,ro=1 --mount=source=part,target=/b,readonly=0 \\
    --mount=source=part,target=/c,RW=T,readwrite=False --mount=type=tmpfs,target=/d,ro \\
    touch /b/x && ! touch /a/x && ! touch /c/x && ! touch /d/x
RUN --mount=type=cache,target=/root/.cache cd /root/.cache && date >> days && wc -l < days > /days
RUN --mount=type=tmpfs,target=/scratch touch /scratch/x
"""
    tree = shop.built(text)
    assert (tree / "one").read_text() == "from the context\n"
    assert (tree / "two").read_text() == "from a stage\n"
    assert (tree / "three").read_text() == "Dockerfile\nnew\npart\n"
    days = int((tree / "days").read_text())
    assert int((shop.built(text) / "days").read_text()) == days + 1
    added = names(tree) - names(shop.home.tree("busybox"))
    assert added == {"one", "two", "three", "days"}
    assert not (shop.context / "new").exists()
    assert shop.leftovers == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_build_that_is_killed_takes_its_step_along(
    shop: Workshop, number: signal.Signals
) -> None:
    word = marker()
    shop.write("Dockerfile", f"FROM busybox\nRUN touch /{word}; echo ready; sleep 1000; : {word}")
    command = shop.home.command("--engine", shop.engine, "build", "-t", shop.image, shop.context)
    build = subprocess.Popen(
        command, env=shop.home.environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    assert build.stderr is not None
    while (line := build.stderr.readline()) != b"ready\n":
        assert line, "the step never ran"
    build.send_signal(number)
    build.wait(20)
    assert all_gone(word, patience=15)
    assert shop.home.call("inspect", shop.image).code == 1
    tree = shop.built(f"FROM busybox\nRUN ls > /{word}")  # and the store is as good as before
    assert (tree / word).exists()
    for _ in waiting(5):
        if not shop.leftovers:
            break
    assert shop.leftovers == []


@pytest.mark.parametrize("engine", ENGINES)
def test_a_tool_with_a_dockerfile_runs_through_cwltool(
    home: Home, tmp_path: Path, engine: str
) -> None:
    image = f"of-a-document-{engine}"
    dockerfile = (
        "FROM busybox\nENV GREETING=hello\nRUN echo '#!/bin/sh' > /bin/greet\n"
        "RUN echo 'echo $GREETING $1 of $(cat /made)' >> /bin/greet && chmod +x /bin/greet\n"
        f"RUN echo {engine} > /made && chown tool /made\n"
    )
    tool = {
        "cwlVersion": "v1.2",
        "class": "CommandLineTool",
        "requirements": {"DockerRequirement": {"dockerFile": dockerfile, "dockerImageId": image}},
        "baseCommand": "greet",
        "inputs": {"who": {"type": "string", "inputBinding": {"position": 1}}},
        "outputs": {"out": {"type": "stdout"}},
        "stdout": "out.txt",
    }
    (tmp_path / "tool.cwl").write_text(json.dumps(tool))
    program = Path(sys.executable).with_name("cwltool-userspace")
    for who in ("you", "them"):  # the second time the image is there
        done = subprocess.run(
            [program, "--outdir", tmp_path / who, tmp_path / "tool.cwl", "--who", who],
            env={**home.environment, "CWL_USERSPACE_ENGINE": engine},
            cwd=tmp_path,
            capture_output=True,
            timeout=100,
        )
        assert done.returncode == 0, done.stderr.decode()
        assert (tmp_path / who / "out.txt").read_text() == f"hello {who} of {engine}\n"
    assert home.call("inspect", image).code == 0
