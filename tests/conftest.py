"""One home with images for all tests that run containers, and each engine in turn."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Generator

import hypothesis
import pytest

from tests.containers import ENGINES, OTHER_ENGINES, Box, Home, Tar, busybox, shell_layer

CONFIGURED = {
    "Env": ["FROM_IMAGE=is set", "PATH=/data/bin:/bin", "LD_PRELOAD=/no/such.so", "EMPTY="],
    "Entrypoint": ["/bin/printf", "%s|"],
    "Cmd": ["from", "cmd"],
    "WorkingDir": "/data/work dir",
    "User": "tool",
}

# No test fails because the machine was busy.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")

# What needs large programs or much time, and only a tox environment asks for. Those environments
# name what they run, so that there pytest fails if it finds nothing.
collect_ignore = [
    *([] if importlib.util.find_spec("toil") else ["toil"]),
    *([] if os.environ.get("CWL_USERSPACE_REAL_MPI") else ["cwl/test_real_mpi.py"]),
    *([] if os.environ.get("CWL_USERSPACE_FAULTS") else ["security/test_every_call.py"]),
]


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home whose store has the images that most tests need."""
    home = Home(tmp_path_factory.mktemp("home"))
    program = busybox()
    home.add("busybox", shell_layer().bytes())
    home.add("scratch", Tar().file("busybox", program, 0o755).bytes())
    home.add("bare", Tar().directory("opt").file("opt/busybox", program, 0o755).bytes())
    home.add("configured", shell_layer().bytes(), CONFIGURED)
    return home


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option that has all tests of containers run with other engines."""
    text = "run all tests of containers with these engines, separated by commas"
    parser.addoption("--engines", default="", help=text)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests of a ``box`` run with the main engines, and where they are so marked with all."""
    if "box" in metafunc.fixturenames and "box" not in overridden(metafunc):
        given = metafunc.config.getoption("--engines")
        marked = metafunc.definition.get_closest_marker("every_engine")
        engines = given.split(",") if given else [*ENGINES, *(OTHER_ENGINES if marked else ())]
        metafunc.parametrize("box", engines, indirect=True)


def overridden(metafunc: pytest.Metafunc) -> set[str]:
    """The fixtures that a module has made its own."""
    return {name for name in ("box",) if hasattr(metafunc.module, name)}


@pytest.fixture
def box(request: pytest.FixtureRequest, home: Home) -> Box:
    """Each engine; one that does not work here fails its tests."""
    return Box(home, request.param)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A user's kernel may lack what a test needs; CI's does not, so there a skip is a fault."""
    report = yield
    if report.skipped and os.environ.get("CI"):
        report.outcome = "failed"
        report.longrepr = f"skipped where nothing may be: {report.longrepr}"
    return report
