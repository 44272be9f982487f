"""GPUs: what is found on a host, what is granted of it, and what the container gets for it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cwl_userspace.cli.gpus import gpus
from cwl_userspace.errors import UsageError
from cwl_userspace.gpufacts import driver
from cwl_userspace.gpus import with_gpus
from cwl_userspace.ldcache import libraries
from cwl_userspace.spec import Gpus, ImageConfig, Mount, RunRequest
from tests.drivers import LIBRARIES, MINORS, UUIDS, FakeDriver

NVIDIA = "/usr/local/nvidia/lib64"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> FakeDriver:
    return FakeDriver(tmp_path_factory.mktemp("driver"))


@pytest.fixture
def fake(made: FakeDriver, tmp_path: Path) -> FakeDriver:
    """A copy of the driver's tree that a test may damage."""
    os.system(f"cp -a '{made.root}' '{tmp_path}/host'")
    copy = FakeDriver.__new__(FakeDriver)
    copy.root = tmp_path / "host"
    copy.libraries = copy.root / "opt/driver/lib64"
    copy.programs = copy.root / "usr/bin"
    return copy


class Asked:
    """What a run with these words, this image and this caller gets."""

    def __init__(
        self, fake: FakeDriver, words: str, visible: str | None = None, *env: str, **given: str
    ) -> None:
        environ = {"PATH": "/usr/bin"}
        if visible is not None:
            environ["CUDA_VISIBLE_DEVICES"] = visible
        request = RunRequest(gpus=gpus(words), environment=list(given.items()))
        found = driver(environ, str(fake.root))
        self.request = with_gpus(request, ImageConfig(env=env), found)
        self.environment = dict(self.request.environment)
        self.mounts = {mount.target: mount for mount in self.request.mounts}
        self.nodes = [device.target for device in self.request.devices]

    @property
    def minors(self) -> list[int]:
        ends = [node.removeprefix("/dev/nvidia") for node in self.nodes]
        return [int(end) for end in ends if end.isdecimal()]

    @property
    def libraries(self) -> set[str]:
        return {target[len(NVIDIA) + 1 :] for target in self.mounts if target.startswith(NVIDIA)}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("all", Gpus(-1)),
        ("-1", Gpus(-1)),
        ("2", Gpus(2)),
        ("0", Gpus(0)),
        ("count=3", Gpus(3)),
        ("2.0", Gpus(2)),
        ("1.5", Gpus(2)),
        ("device=0", Gpus(0, ["0"])),
        ("device=0,1", Gpus(0, ["0", "1"])),
        ('"device=0,1"', Gpus(0, ["0", "1"])),
        ('"device=GPU-aaaa,1"', Gpus(0, ["GPU-aaaa", "1"])),
        ("driver=nvidia,count=1", Gpus(1)),
        ('all,"capabilities=compute,video"', Gpus(-1, (), ["compute", "video"])),
        ("1,capabilities=gpu", Gpus(1)),
    ],
)
def test_the_words_of_docker_are_understood(words: str, expected: Gpus) -> None:
    assert gpus(words) == expected


@pytest.mark.parametrize(
    "words",
    ["x", "-2", "1.", ".5", "", "device=", "count=", "count=1,device=2", "driver=amd,count=1"],
)
def test_other_words_are_refused_with_what_was_expected(words: str) -> None:
    with pytest.raises(UsageError, match=r"--gpus.*expected all, a number"):
        gpus(words)
    with pytest.raises(UsageError, match="'graphics'; there are: compute, utility, video, all"):
        gpus("all,capabilities=graphics")


def test_libraries_are_found_by_the_cache_that_ldconfig_made(fake: FakeDriver) -> None:
    found = libraries(str(fake.root), os.uname().machine, lambda soname: True)
    assert set(LIBRARIES) == set(found)
    assert found["libcuda.so.1"] == str(fake.libraries / "libcuda.so.550.54.14")


def test_libraries_for_another_processor_are_not_taken(fake: FakeDriver) -> None:
    other = {"x86_64": "aarch64", "aarch64": "x86_64"}[os.uname().machine]
    assert libraries(str(fake.root), other, lambda soname: True) == {}


def test_libraries_are_found_in_the_usual_places_where_there_is_no_cache(fake: FakeDriver) -> None:
    (fake.root / "etc/ld.so.cache").write_bytes(b"damaged")
    place = fake.root / f"usr/lib/{os.uname().machine}-linux-gnu"
    place.parent.mkdir(parents=True)
    fake.libraries.rename(place)
    assert Asked(fake, "1").mounts[f"{NVIDIA}/libcuda.so.1"].source.startswith(str(place))


@pytest.mark.parametrize("cut", [10, 30, 60, 100])
def test_a_cut_cache_is_as_good_as_none(fake: FakeDriver, cut: int) -> None:
    cache = fake.root / "etc/ld.so.cache"
    cache.write_bytes(cache.read_bytes()[:cut])
    with pytest.raises(UsageError, match=r"has no libcuda\.so\.1 for this processor"):
        Asked(fake, "1")


def test_a_container_gets_the_nodes_libraries_and_programs_of_compute_and_utility(
    fake: FakeDriver,
) -> None:
    asked = Asked(fake, "1")
    assert asked.nodes == [
        "/dev/nvidiactl",
        "/dev/nvidia-uvm",
        "/dev/nvidia-uvm-tools",
        "/dev/nvidia0",
    ]
    assert asked.libraries == {
        *("libcuda.so", "libcuda.so.1", "libnvidia-ml.so.1", "libnvidia-nvvm.so.4"),
        *("libnvidia-ptxjitcompiler.so.1", "libnvidia-compiler.so.550.54.14"),
    }
    assert {"/usr/bin/nvidia-smi", "/usr/bin/nvidia-debugdump"} <= set(asked.mounts)
    assert all(mount.read_only for mount in asked.mounts.values())
    assert asked.environment == {
        "CUDA_VISIBLE_DEVICES": "0",
        "NVIDIA_VISIBLE_DEVICES": UUIDS[0],
        "NVIDIA_DRIVER_CAPABILITIES": "compute,utility",
        "LD_LIBRARY_PATH": NVIDIA,
    }


def test_gpus_are_numbered_by_their_place_on_the_bus_and_anew_inside(fake: FakeDriver) -> None:
    asked = Asked(fake, "device=1")
    assert (asked.minors, asked.environment["CUDA_VISIBLE_DEVICES"]) == ([2], "0")
    asked = Asked(fake, "all")
    assert (asked.minors, asked.environment["CUDA_VISIBLE_DEVICES"]) == ([*MINORS], "0,1,2")


@pytest.mark.parametrize(
    ("words", "visible", "minors"),
    [
        ("1", "1", [2]),
        ("2", "2,0,1", [1, 0]),
        ("all", "1,2", [2, 1]),
        ("all", "1,9,0", [2]),
        ("all", f"{UUIDS[2]},GPU-aaaa", [1, 0]),
        ("device=1", "0,1", [2]),
        (f"device={UUIDS[1]}", "0,1", [2]),
        ("device=GPU-c", None, [1]),
        ("device=0,0", None, [0]),
    ],
)
def test_the_count_is_taken_out_of_what_the_caller_may_see(
    fake: FakeDriver, words: str, visible: str | None, minors: list[int]
) -> None:
    assert Asked(fake, words, visible).minors == minors


@pytest.mark.parametrize(
    ("words", "visible", "said"),
    [
        ("4", None, "asks for 4 and there are 3 to be used here"),
        ("2", "1", r"asks for 2 and there are 1 to be used here \(CUDA_VISIBLE_DEVICES is '1'\)"),
        ("1", "", r"asks for 1 and there are 0 to be used here \(CUDA_VISIBLE_DEVICES is ''\)"),
        ("all", "-1", "asks for all and there are 0"),
        ("1", "NoDevFiles", "asks for 1 and there are 0"),
        ("device=0", "1,2", "asks for '0', which cannot be used here.*GPU-bbbbbbbb"),
        ("device=7", None, "asks for '7', which cannot be used here"),
        ("device=GPU-", None, "asks for 'GPU-', which cannot be used here"),
    ],
)
def test_more_than_there_is_is_refused_in_one_sentence(
    fake: FakeDriver, words: str, visible: str | None, said: str
) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        Asked(fake, words, visible)
    assert "\n" not in str(caught.value)


def test_nodes_that_a_batch_system_hides_are_not_counted(fake: FakeDriver) -> None:
    (fake.root / "dev/nvidia0").unlink()
    assert Asked(fake, "1", "0").minors == [2]
    with pytest.raises(UsageError, match="there are 2"):
        Asked(fake, "3")


def test_nodes_are_enough_where_the_driver_lists_nothing(fake: FakeDriver) -> None:
    (fake.root / "proc/driver/nvidia/gpus").rename(fake.root / "proc/driver/nvidia/hidden")
    asked = Asked(fake, "2", "2,1")
    assert asked.minors == [2, 1]
    assert asked.environment["NVIDIA_VISIBLE_DEVICES"] == "2,1"


def test_a_slice_of_a_gpu_keeps_its_name(fake: FakeDriver) -> None:
    (fake.root / "dev/nvidia-caps").mkdir()
    (fake.root / "dev/nvidia-caps/nvidia-cap3").touch()
    asked = Asked(fake, "1", "MIG-1234,MIG-5678")
    assert asked.minors == [*MINORS] and "/dev/nvidia-caps/nvidia-cap3" in asked.nodes
    assert asked.environment["CUDA_VISIBLE_DEVICES"] == "MIG-1234"
    assert "/dev/nvidia-caps/nvidia-cap3" not in Asked(fake, "1").nodes


def test_the_image_says_which_parts_of_the_driver_it_wants(fake: FakeDriver) -> None:
    asked = Asked(fake, "1", None, "NVIDIA_DRIVER_CAPABILITIES=utility")
    assert asked.libraries == {"libnvidia-ml.so.1"}
    assert asked.nodes == ["/dev/nvidiactl", "/dev/nvidia0"]
    everything = Asked(fake, "1", None, "NVIDIA_DRIVER_CAPABILITIES=all").libraries
    assert {"libnvidia-encode.so.1", "libnvidia-opticalflow.so"} <= everything
    asked = Asked(fake, "1", None, "NVIDIA_DRIVER_CAPABILITIES=graphics,display")
    assert asked.environment["NVIDIA_DRIVER_CAPABILITIES"] == "compute,utility"
    asked = Asked(fake, "1,capabilities=video", None, "NVIDIA_DRIVER_CAPABILITIES=all")
    assert asked.libraries == {
        *("libnvidia-encode.so.1", "libnvidia-opticalflow.so.1", "libnvidia-opticalflow.so")
    }


def test_the_place_of_the_libraries_comes_last_and_once(fake: FakeDriver) -> None:
    image = "LD_LIBRARY_PATH=/usr/local/cuda/compat"
    asked = Asked(fake, "1", None, image)
    assert asked.environment["LD_LIBRARY_PATH"] == f"/usr/local/cuda/compat:{NVIDIA}"
    asked = Asked(fake, "1", None, image, LD_LIBRARY_PATH=f"{NVIDIA}:/mine")
    assert asked.environment["LD_LIBRARY_PATH"] == f"{NVIDIA}:/mine"


def test_what_the_caller_sets_and_mounts_wins(fake: FakeDriver) -> None:
    assert (
        Asked(fake, "2", None, CUDA_VISIBLE_DEVICES="1").environment["CUDA_VISIBLE_DEVICES"] == "1"
    )
    own = Mount("/etc/passwd", "/usr/bin/nvidia-smi")
    request = RunRequest(gpus=Gpus(1), mounts=[own])
    found = driver({}, str(fake.root))
    assert with_gpus(request, ImageConfig(), found).mounts[-1] == own


def test_sockets_of_its_services_are_shown(fake: FakeDriver) -> None:
    place = "/run/nvidia-persistenced/socket"
    assert place not in Asked(fake, "1").mounts
    (fake.root / place[1:]).parent.mkdir(parents=True)
    os.mkfifo(fake.root / place[1:])
    assert Asked(fake, "1").mounts[place].source == str(fake.root) + place


def test_a_host_without_the_driver_is_told_by_the_missing_node(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no NVIDIA driver on this host: /dev/nvidiactl is missi"):
        with_gpus(RunRequest(gpus=Gpus(1)), ImageConfig(), driver({}, str(tmp_path)))


def test_a_driver_that_is_not_ready_is_said_with_what_to_do(fake: FakeDriver) -> None:
    (fake.root / "dev/nvidia-uvm").unlink()
    with pytest.raises(UsageError, match="/dev/nvidia-uvm is missing; run nvidia-modprobe"):
        Asked(fake, "1")
    assert Asked(fake, "1,capabilities=utility").minors == [0]
