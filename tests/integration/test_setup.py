"""``setup proot`` keeps a proot whose bytes are the right ones and that works, and nothing else."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.containers import Home, Ran, busybox, shell_layer

PROOT = Path(shutil.which("proot") or "proot")
WRONG = "0" * 64


class Server(ThreadingHTTPServer):
    """Serves bytes by path; those below /cut/ end before they should."""

    daemon_threads = True

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        content = self.server.files.get(self.path.removeprefix("/cut"))
        self.send_response(404 if content is None else 200)
        content = content or b""
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        cut = len(content) // 2 if self.path.startswith("/cut") else len(content)
        self.wfile.write(content[:cut])

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    server.files["/proot"] = PROOT.read_bytes()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def own(tmp_path: Path) -> Home:
    """A home of this test's own, on a PATH without a proot."""
    home = Home(tmp_path)
    (tmp_path / "bin").mkdir()
    home.environment["PATH"] = str(tmp_path / "bin")
    return home


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def get(home: Home, url: str, hexadecimal: str) -> Ran:
    return home.call("setup", "proot", "--url", url, "--sha256", hexadecimal)


def tools(home: Home) -> list[Path]:
    directory = home.place / "store" / "tools"
    return sorted(directory.iterdir()) if directory.exists() else []


def test_the_right_bytes_are_kept_and_run_containers(own: Home, server: Server) -> None:
    own.add("busybox", shell_layer().bytes())
    words = ("--engine=proot", "run", "busybox", "echo", "fine")
    assert own.call(*words).code == 125
    content = server.files["/proot"]
    said = get(own, f"{server.url}/proot", sha256(content)).text
    (kept,) = tools(own)
    assert said.startswith("proot 5.") and str(kept) in said and "accelerated" in said
    assert kept.read_bytes() == content and kept.stat().st_mode & 0o7777 == 0o755
    assert own.call(*words).text == "fine\n"
    again = get(own, f"{server.url}/proot", sha256(content).upper())
    assert again.text == said and server.asked == ["/proot"]


def test_a_file_of_this_host_is_a_place_too(own: Home) -> None:
    assert str(tools(own)) == "[]"
    assert get(own, str(PROOT), sha256(PROOT.read_bytes())).code == 0
    (kept,) = tools(own)
    kept.unlink()
    assert get(own, f"file://{PROOT}", sha256(PROOT.read_bytes())).code == 0
    assert len(tools(own)) == 1


@pytest.mark.parametrize(
    ("path", "right", "words"),
    [
        ("/proot", False, ["SHA-256", WRONG, "nothing was kept"]),
        ("/cut/proot", True, ["bytes"]),
        ("/nothing", True, ["404"]),
        ("/text", True, ["it is no program"]),
        ("/other", True, ["it is not for"]),
        ("/busybox", True, ["does not work here", "not kept"]),
    ],
)
def test_anything_else_is_refused_and_nothing_kept(
    own: Home, server: Server, path: str, right: bool, words: list[str]
) -> None:
    server.files["/text"] = b"#!/bin/sh\necho I am proot\n"
    server.files["/other"] = b"\x7fELF\1\1\1" + bytes(100)
    server.files["/busybox"] = busybox()
    content = server.files.get(path.removeprefix("/cut"), b"")
    ran = get(own, server.url + path, sha256(content) if right else WRONG)
    assert ran.code == 125 and all(word in ran.complaint for word in words)
    assert tools(own) == []


def test_without_a_hash_nothing_is_asked_for(own: Home, server: Server) -> None:
    ran = own.call("setup", "proot", "--url", f"{server.url}/proot")
    assert ran.code == 125 and "--sha256" in ran.complaint
    ran = own.call("setup", "proot")
    assert ran.code == 125 and "no build of proot" in ran.complaint and "--url" in ran.complaint
    assert get(own, f"{server.url}/proot", "abc").code == 125
    assert server.asked == []


def test_places_in_the_settings_are_asked_in_their_order(own: Home, server: Server) -> None:
    settings = own.place / "config" / "cwl-userspace"
    settings.mkdir()
    digest = sha256(server.files["/proot"])
    (settings / "config.yml").write_text(
        f"proot_places:\n  - {server.url}/first\n  - {server.url}/wrong\n"
        f"  - {{url: '{server.url}/proot', sha256: '{digest}'}}\n"
    )
    server.files["/wrong"] = b"another"
    assert own.call("setup", "proot").code == 0
    assert server.asked == ["/proot"], "the others have no hash"
    tools(own)[0].unlink()
    assert own.call("setup", "proot", "--sha256", digest).code == 0
    assert server.asked[1:] == ["/first", "/wrong", "/proot"]


def test_the_setting_proot_wins_over_one_that_was_fetched(own: Home, server: Server) -> None:
    get(own, f"{server.url}/proot", sha256(server.files["/proot"]))
    own.environment["CWL_USERSPACE_PROOT"] = "/bin/false"
    report = json.loads(own.call("doctor", "--json", "--offline", "--quick").out)
    (proot,) = (entry for entry in report["engines"] if entry["name"] == "proot")
    assert not proot["works"] and "/bin/false" in proot["reason"]
    said = get(own, f"{server.url}/proot", sha256(server.files["/proot"])).text
    assert "/bin/false, which is used" in said


def test_one_that_was_fetched_wins_over_one_on_path_that_is_not_faster(
    own: Home, server: Server
) -> None:
    copy = own.place / "bin" / "proot"
    shutil.copy(PROOT, copy)
    assert f"at {copy}," in notes(own)
    get(own, f"{server.url}/proot", sha256(server.files["/proot"]))
    assert f"at {tools(own)[0]}," in notes(own)


def notes(home: Home) -> str:
    report = json.loads(home.call("doctor", "--json", "--offline", "--quick").out)
    (proot,) = (entry for entry in report["engines"] if entry["name"] == "proot")
    assert any("measured here" in note for note in proot["notes"]), proot
    return "\n".join(proot["notes"])


@pytest.mark.parametrize(
    ("options", "words"),
    [("size=100k", "no space left"), ("noexec", "noexec"), ("ro", "read-only file system")],
)
def test_a_store_that_cannot_hold_it_is_said(
    own: Home, server: Server, options: str, words: str
) -> None:
    script = 'mount -t tmpfs -o "$1" tmpfs "$2" && shift 2 && exec "$@"'
    url = ("setup", "proot", "--url", f"{server.url}/proot")
    command = own.command(*url, "--sha256", sha256(server.files["/proot"]))
    store = str(own.place / "store")
    ran = subprocess.run(
        ["/usr/bin/unshare", "-rm", "/bin/sh", "-c", script, "sh", options, store, *command],
        env={**own.environment, "PATH": f"{own.place}/bin:/usr/bin:/bin:/usr/sbin:/sbin"},
        capture_output=True,
        text=True,
        timeout=40,
    )
    assert ran.returncode == 125 and words in ran.stderr.lower(), ran
    assert ran.stderr.count("\n") == 1


def test_only_proot_can_be_set_up(own: Home) -> None:
    for words in ((), ("docker",)):
        ran = own.call("setup", *words)
        assert ran.code == 125 and "setup proot" in ran.complaint
