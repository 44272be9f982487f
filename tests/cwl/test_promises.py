"""What a document says of network, inputs and memory is held, whatever runs the container."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.containers import ENGINES, Home
from tests.cwl.documents import SCRIPTS, cwltool, file, since, tool, workflow
from tests.drivers import FakeDriver
from tests.dynamic import dynamic_layer
from tests.greeting import greeting

BUSYBOX = {"dockerPull": "busybox"}
ON = {"NetworkAccess": {"networkAccess": True}}
WRITE = 'cat "$0"; echo changed > "$0" || echo refused'


@pytest.fixture
def addresses() -> Iterator[list[str]]:
    """Two addresses of this host, one beyond 127.0.0.1, at which a server greets; its port last."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # nothing is sent
            other = str(probe.getsockname()[0])
        except OSError:
            other = "127.0.0.2"
    with greeting("0.0.0.0") as port:
        yield ["127.0.0.1", other, str(port)]


def writing(name: str, inplace: bool) -> dict[str, object]:
    """The requirements of a tool that writes to its input, in place or to a copy of it."""
    entry = {"entry": "$(inputs.file)", "entryname": name, "writable": True}
    update = {"InplaceUpdateRequirement": {"inplaceUpdate": True}} if inplace else {}
    return {"InitialWorkDirRequirement": {"listing": [entry]}, **update}


@pytest.mark.parametrize("engine", ENGINES)
def test_network_and_inputs_are_as_the_document_says(
    home: Home, engine: str, addresses: list[str], tmp_path: Path
) -> None:
    one, other, port = addresses
    talk = f"for a in {one} {other}; do nc -w 5 $a {port} < /dev/null; done; true"
    data = tmp_path / "data.txt"
    data.write_text("input\n")
    tools = {
        "off": tool(talk, BUSYBOX),
        "on": tool(talk, BUSYBOX, requirements=ON),
        "input": tool(f"{WRITE} 2>&1", BUSYBOX),
        "copy": tool("echo more >> copied; cat copied", BUSYBOX,
                     requirements=writing("copied", inplace=False)),
    }  # fmt: skip
    done = cwltool(
        home,
        tmp_path,
        workflow(tools),
        order={"file": file(data)},
        environment={"CWL_USERSPACE_ENGINE": engine},
    )
    assert done.code == 0, done.log
    assert done.text("off") == ""
    assert done.text("on") == "hello\nhello\n"
    assert done.text("input").startswith("input\n") and done.text("input").endswith("refused\n")
    assert done.text("copy") == "input\nmore\n"
    assert data.read_text() == "input\n"


FILL = "head -c 100000000 /dev/zero > /dev/shm/x && echo filled"
SHM_SIZE = "3.1.20240404144621"  # the first that knows of it
NEEDS = {
    "ResourceRequirement": {"ramMin": 30, "ramMax": 30, "coresMin": 1},
    "cwltool:ShmSize": {"shmSize": "200m"},
}


@since(SHM_SIZE)
def test_an_update_in_place_changes_the_input_and_advised_memory_is_no_limit(
    home: Home, tmp_path: Path
) -> None:
    data = tmp_path / "data.txt"
    data.write_text("input\n")
    script = f"{FILL}; df -k /dev/shm | tail -n 1; echo more >> here"
    document = tool(script, BUSYBOX, requirements={**writing("here", inplace=True), **NEEDS})
    done = cwltool(home, tmp_path, document, order={"file": file(data)})
    assert done.code == 0, done.log
    assert data.read_text() == "input\nmore\n"
    filled, shm = done.text("out").splitlines()
    assert filled == "filled" and shm.split()[1] == str(200 << 10)


@since(SHM_SIZE)
def test_a_strict_limit_of_memory_holds(home: Home, tmp_path: Path) -> None:
    document = tool(FILL, BUSYBOX, requirements=NEEDS)
    done = cwltool(home, tmp_path, document, "--strict-memory-limit", "--strict-cpu-limit")
    assert done.code == 1 and "exited with status: 137" in done.words, done.log


def test_a_tool_that_requires_cuda_sees_as_many_gpus_as_it_asks_for(
    home: Home, tmp_path: Path
) -> None:
    home.add("with-dynamic-programs", dynamic_layer(("head", "od")).bytes())
    cuda = {
        "cudaVersionMin": "11.4",
        "cudaComputeCapability": "3.0",
        "cudaDeviceCountMin": 1,
        "cudaDeviceCountMax": 2,
    }
    document = tool(
        "nvidia-smi; echo /dev/nvidia?",
        {"dockerPull": "with-dynamic-programs"},
        requirements={"cwltool:CUDARequirement": cuda},
    )
    (tmp_path / "document.cwl").write_text(json.dumps(document))
    command = [str(SCRIPTS / "cwltool-userspace"), "--enable-ext", "document.cwl"]
    driver = FakeDriver(tmp_path)
    ran = driver.in_its_place(command, home.environment, tmp_path)
    assert ran.returncode == 0, ran.stderr.decode()
    assert "--gpus=" in ran.stderr.decode()
    lines = (tmp_path / "out.txt").read_text().splitlines()
    assert lines == ["driver 12040", "/dev/nvidia0"], lines
