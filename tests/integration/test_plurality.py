"""plurality's README example, by its own words, with its name first on PATH.

What stands in for what is named there: the image ``busybox`` for ``ubuntu:16.04``, a free port for
3333, and for the server, whose source is not in the README, one in C that says the same. docker is
ours by that name. The server has a variable by which its processes are found.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.containers import PATIENCE, Home, Ran, Word, all_gone, marker, waiting
from tests.detached import free_port

SERVER = r"""
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
int main(void) {
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(PORT)};
    int yes = 1, listening = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(listening, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listening, (void *)&here, sizeof here) || listen(listening, 5)) return 1;
    printf("Listening on :%d\n", PORT);
    fflush(stdout);
    for (;;) {
        char text[1024] = {0};
        int peer = accept(listening, 0, 0), length = read(peer, text, sizeof text - 1);
        text[strcspn(text, "\n")] = 0;
        dprintf(peer, "Hi, I received your message! It was %d bytes long and that's what it said:"
                      " \"%s\" ! Honestly I have no clue about what to do with your messages,"
                      " so Bye Bye!\n", length, text);
        close(peer);
    }
}
"""
DOCKERFILE = "FROM scratch\nADD ./echo-server /echo-server\nCMD /echo-server\n"


@pytest.mark.parametrize("engine", ["userns", "proot"])
def test_its_readme_example_holds(home: Home, tmp_path: Path, engine: str) -> None:
    port, word = free_port(), marker()
    environment = {**home.environment, "CWL_USERSPACE_ENGINE": engine}
    assert home.call("shim", "plurality", "docker", "--dir", tmp_path).code == 0

    def plurality(*words: Word) -> Ran:
        done = subprocess.run(
            [tmp_path / "plurality", *words],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PATIENCE,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    assert plurality("create", "busybox", "echo_wahoo").code == 0
    assert plurality("run", "echo_wahoo", "echo", "this is a test wahoo").text == (
        "this is a test wahoo\n"
    )
    (tmp_path / "server.c").write_text(SERVER)
    subprocess.run(
        ["gcc", "-static", f"-DPORT={port}", "-o", "echo-server", "server.c"],
        cwd=tmp_path,
        check=True,
    )
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    docker: list[Word] = [tmp_path / "docker", "build", "-t", "echo-server", "."]
    subprocess.run(docker, cwd=tmp_path, env=environment, check=True)
    made = plurality("--debug", "--nosudo", "create", "--nopull", "echo-server:latest", "echo_test")
    assert made.code == 0, made
    command: list[Word] = [
        tmp_path / "plurality",
        "run",
        "-e",
        f"WORD={word}",
        "echo_test",
        "/echo-server",
    ]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"Listening on :%d\n" % port
        asking = f'echo "Hello rootless container!" | nc localhost {port}'
        answer = subprocess.check_output(["sh", "-c", asking], text=True, timeout=PATIENCE)
        assert answer == (
            "Hi, I received your message! It was 26 bytes long and that's what it said: "
            '"Hello rootless container!" ! Honestly I have no clue about what to do with your '
            "messages, so Bye Bye!\n"
        )
        assert plurality("status", "echo_test").text.startswith("echo_test: running, Up ")
        assert "echo_wahoo" in plurality("list").text
        assert plurality("stop", "echo_test").text == "echo_test\n"
        assert server.wait(PATIENCE) == 143
    assert all_gone(word)
    assert any("Exited (143)" in plurality("status", "echo_test").text for _ in waiting(PATIENCE))
    assert plurality("delete", "echo_test").text == "echo_test\n"
    assert plurality("delete", "echo_wahoo").text == "echo_wahoo\n"
    unknown = plurality("frobnicate")
    assert unknown.code == 125 and "known are create, delete, list" in unknown.complaint
