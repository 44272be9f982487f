"""Pull from a registry whose name cannot be found at first, in namespaces made for this.

usage: unshare --user --map-root-user --mount --net python -m tests.failing_names DIRECTORY

The server of names says that it fails (RFC 1035, 4.1.1) until the client has paused.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from pathlib import Path

from cwl_userspace.kernel.syscalls import loopback_up
from tests.fake_registry import FakeRegistry
from tests.pulling import Client

_SERVER_FAILURE = 2


def serve(server: socket.socket, healed: threading.Event) -> None:
    """Answer that every name is 127.0.0.1, and has no other address, once healed."""
    while True:
        asked, client = server.recvfrom(512)
        end = asked.index(b"\0", 12) + 5
        question = asked[12:end]
        code = 0 if healed.is_set() else _SERVER_FAILURE
        address = code == 0 and question[-4:] == b"\0\1\0\1"
        answer = asked[:2] + bytes((0x81, 0x80 | code)) + b"\0\1" + bytes((0, address)) + bytes(4)
        answer += question
        if address:
            answer += b"\xc0\x0c\0\1\0\1" + bytes(4) + b"\0\4" + socket.inet_aton("127.0.0.1")
        server.sendto(answer, client)


def main() -> None:
    """Print how often the client paused, once it has all layers."""
    settings = Path(sys.argv[1], "resolv.conf")
    settings.write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    subprocess.run(["mount", "--bind", settings, "/etc/resolv.conf"], check=True)
    loopback_up()
    healed = threading.Event()
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        healed.set()

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server, FakeRegistry() as registry:
        server.bind(("127.0.0.1", 53))
        threading.Thread(target=serve, args=(server, healed), daemon=True).start()
        added = registry.add("tool", "1")
        port = registry.authority.rpartition(":")[2]
        client = Client(registry, host=f"registry.test:{port}", insecure=True, sleep=pause)
        assert client.pull() == list(added.blobs)
    print(len(pauses))


if __name__ == "__main__":
    main()
