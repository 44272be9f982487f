"""``--gpus`` on a host that has a driver, as far as that can be had without one."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from tests.containers import ENGINES, Box, Home, Ran
from tests.drivers import UUIDS, VERSION, FakeDriver
from tests.dynamic import dynamic_layer
from tests.integration.test_doors import DOORS
from tests.singularity import Singularity

SEEN = (
    "nvidia-smi; echo $CUDA_VISIBLE_DEVICES; echo /dev/nvidia*"
    "; head -c 3 /dev/nvidia0 | od -An -tx1; echo x > /dev/nvidiactl"
    "; (echo x > /usr/bin/nvidia-smi) 2>&- || echo kept"
)


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> FakeDriver:
    return FakeDriver(tmp_path_factory.mktemp("driver"))


@pytest.fixture(scope="module")
def dynamic(home: Home) -> str:
    return home.add("with-dynamic-programs", dynamic_layer(("head", "od")).bytes())


def run(box: Box, driver: FakeDriver, place: Path, *words: str, **environment: str) -> Ran:
    done = driver.in_its_place(
        box.home.command(*box.words(*words)), {**box.home.environment, **environment}, place
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def test_the_hosts_driver_works_in_the_container_and_other_gpus_are_not_there(
    box: Box, driver: FakeDriver, dynamic: str, tmp_path: Path
) -> None:
    ran = run(box, driver, tmp_path, "--gpus=1", dynamic, "sh", "-c", SEEN)
    assert ran.text.splitlines() == [
        f"driver {VERSION}",
        "0",
        "/dev/nvidia-uvm /dev/nvidia-uvm-tools /dev/nvidia0 /dev/nvidiactl",
        " 00 00 00",
        "kept",
    ]


@pytest.mark.parametrize("option", ["--nv", "--nvccli"])
def test_singularity_shows_the_gpus_and_what_the_caller_says_of_them(
    home: Home, driver: FakeDriver, dynamic: str, tmp_path: Path, option: str
) -> None:
    """As Toil and crunch-run have it: the choice of devices is a variable of the tool's."""
    singularity = Singularity(home, tmp_path / "shims")
    assert singularity("build", "a.sif", f"docker://{dynamic}", cwd=tmp_path).text == ""
    words = ["exec", "--containall", option, str(tmp_path / "a.sif"), "sh", "-c", SEEN]
    given = {**singularity.environment, "SINGULARITYENV_CUDA_VISIBLE_DEVICES": "1"}
    done = driver.in_its_place([str(singularity.place / "singularity"), *words], given, tmp_path)
    said = Ran(done.returncode, done.stdout, done.stderr).text.splitlines()
    assert said[:2] == [f"driver {VERSION}", "1"]
    assert said[2].split()[-4:] == [f"/dev/nvidia{name}" for name in ("0", "1", "2", "ctl")]


def test_the_callers_choice_of_gpus_holds(
    box: Box, driver: FakeDriver, dynamic: str, tmp_path: Path
) -> None:
    script = "echo /dev/nvidia?; echo $CUDA_VISIBLE_DEVICES $NVIDIA_VISIBLE_DEVICES"
    words = ("--gpus=1", dynamic, "sh", "-c", script)
    ran = run(box, driver, tmp_path, *words, CUDA_VISIBLE_DEVICES="2,0")
    assert ran.text.split() == ["/dev/nvidia1", "0", UUIDS[2]]


def test_fakechroot_shows_them_too(
    home: Home, driver: FakeDriver, dynamic: str, tmp_path: Path
) -> None:
    script = "nvidia-smi; echo /dev/nvidia?; head -c 3 /dev/nvidia0 | od -An -tx1"
    words = ("--gpus=1", dynamic, "sh", "-c", script)
    ran = run(Box(home, "fakechroot"), driver, tmp_path, *words)
    assert ran.text.split() == ["driver", str(VERSION), "/dev/nvidia0", "00", "00", "00"]


def test_without_gpus_nothing_of_the_driver_is_to_be_seen(
    box: Box, driver: FakeDriver, dynamic: str, tmp_path: Path
) -> None:
    script = "echo /dev/nvidia* /usr/bin/nvidia* /usr/local/*; echo $LD_LIBRARY_PATH"
    ran = run(box, driver, tmp_path, dynamic, "sh", "-c", script)
    assert ran.text == "/dev/nvidia* /usr/bin/nvidia* /usr/local/*\n\n"


def test_more_gpus_than_there_are_and_none_at_all_end_with_125(
    home: Home, driver: FakeDriver, dynamic: str, tmp_path: Path
) -> None:
    ran = run(Box(home, "proot"), driver, tmp_path, "--gpus=4", dynamic, "true")
    assert ran.code == 125 and "asks for 4 and there are 3" in ran.complaint
    ran = home.call("run", "--gpus", "all", dynamic, "true")
    assert ran.code == 125 and "no NVIDIA driver on this host" in ran.complaint


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_cuda_requirement_gives_as_many_gpus_as_it_says(
    home: Home, driver: FakeDriver, dynamic: str, tmp_path: Path, door: str, engine: str
) -> None:
    tool = {
        "cwlVersion": "v1.2",
        "class": "CommandLineTool",
        "$namespaces": {"cwltool": "http://commonwl.org/cwltool#"},
        "requirements": {
            "DockerRequirement": {"dockerPull": dynamic},
            "cwltool:CUDARequirement": {
                "cudaVersionMin": "11.4",
                "cudaComputeCapability": "3.0",
                "cudaDeviceCountMin": 2,
                "cudaDeviceCountMax": 2,
            },
        },
        "baseCommand": ["sh", "-c", "nvidia-smi; echo /dev/nvidia?"],
        "inputs": {},
        "outputs": {"out": {"type": "stdout"}},
        "stdout": "out.txt",
    }
    (tmp_path / "tool.cwl").write_text(json.dumps(tool))
    scripts = Path(sys.executable).parent
    program, *options = DOORS[door]
    done = driver.in_its_place(
        [os.fspath(scripts / program), *options, "--enable-ext", "tool.cwl"],
        {
            **home.environment,
            "PATH": f"{scripts}:{home.environment['PATH']}",
            "CWL_USERSPACE_ENGINE": engine,
        },
        tmp_path,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert (tmp_path / "out.txt").read_text().split() == [
        *("driver", str(VERSION), "/dev/nvidia0", "/dev/nvidia2")
    ]
