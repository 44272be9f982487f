"""Pull from Debian's docker-registry on loopback, as it is and as a mirror of docker.io."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.containers import Home, oci_layout, shell_layer

pytestmark = pytest.mark.once

CONFIG = """
version: 0.1
storage:
  filesystem:
    rootdirectory: {root}
http:
  addr: 127.0.0.1:{port}
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a registry that has ``library/tool:1``, pushed by skopeo."""
    place = tmp_path_factory.mktemp("registry")
    port = free_port()
    config = place / "config.yml"
    config.write_text(CONFIG.format(root=place / "data", port=port))
    program = shutil.which("docker-registry")
    assert program, "these tests need docker-registry"
    with subprocess.Popen(
        [program, "serve", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as server:
        try:
            wait_for(port)
            layout = oci_layout(place / "layout", "tool", shell_layer().bytes(), {"Cmd": ["id"]})
            push(layout, f"127.0.0.1:{port}/library/tool:1", place)
            yield f"127.0.0.1:{port}"
        finally:
            server.kill()


def wait_for(port: int) -> None:
    for _ in range(200):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/", timeout=5).close()
            return
        except (OSError, urllib.error.URLError):
            time.sleep(0.05)
    raise AssertionError("docker-registry does not answer")


def push(layout: Path, name: str, home: Path) -> None:
    # It ends where its usual file is in a directory that root has made for itself.
    credentials = home / "auth.json"
    credentials.write_text("{}")
    subprocess.run(
        ["skopeo", "--insecure-policy", "copy", "--dest-tls-verify=false", f"oci:{layout}:tool"]
        + [f"docker://{name}"],
        check=True,
        capture_output=True,
        env={
            **os.environ,
            "HOME": str(home),
            "TMPDIR": str(home),
            "REGISTRY_AUTH_FILE": str(credentials),
        },
    )


@pytest.fixture
def fresh(tmp_path: Path) -> Home:
    """A home with an empty store."""
    return Home(tmp_path)


def settings(home: Home, text: str) -> None:
    directory = home.place / "config" / "cwl-userspace"
    directory.mkdir(exist_ok=True)
    (directory / "config.yml").write_text(text)


def test_run_fetches_what_the_store_lacks(fresh: Home, registry: str) -> None:
    name = f"{registry}/library/tool:1"
    assert fresh.call("run", name, "echo", "hello").text == "hello\n"
    assert fresh.call("images", "-q").text.count("\n") == 1


def test_a_digest_is_pulled_and_another_one_is_refused(fresh: Home, registry: str) -> None:
    name = f"{registry}/library/tool:1"
    fresh.call("pull", name)
    digest = fresh.call("inspect", "-f", "{{json .RepoDigests}}", name).text.strip('[]"\n')
    assert fresh.call("pull", digest).text.strip() == digest
    other = fresh.call("pull", f"{registry}/library/tool@sha256:{'0' * 64}")
    assert other.code == 125 and "0000" in other.complaint


def test_a_mirror_of_docker_io_gives_the_image_under_its_own_name(
    fresh: Home, registry: str
) -> None:
    settings(fresh, f'registries:\n  docker.io:\n    mirrors: ["http://{registry}"]\n')
    assert fresh.call("pull", "tool:1").text == "docker.io/library/tool:1\n"
    assert fresh.call("run", "docker.io/library/tool:1", "true").text == ""


def test_mirrors_are_tried_in_order_and_every_reason_is_told(fresh: Home, registry: str) -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    mirrors = f'["oci:{fresh.place}/nowhere", "{dead}", "http://{registry}"]'
    settings(fresh, f"registries:\n  docker.io:\n    mirrors: {mirrors}\n")
    assert fresh.call("pull", "tool:1").code == 0
    missing = fresh.call("pull", "tool:2")
    assert missing.code == 125
    assert all(word in missing.complaint for word in ("nowhere", dead, registry, "tool:2"))


def test_an_unreachable_registry_and_an_unknown_image_leave_nothing(
    fresh: Home, registry: str
) -> None:
    gone = fresh.call("run", f"127.0.0.1:{free_port()}/a/b", "true")
    assert gone.code == 125 and "127.0.0.1" in gone.complaint
    unknown = fresh.call("run", f"{registry}/library/nothing:1", "true")
    assert unknown.code == 125 and "nothing:1" in unknown.complaint
    store = fresh.place / "store"
    assert [p for name in ("tmp", "trees", "names") for p in (store / name).iterdir()] == []
