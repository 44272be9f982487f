"""A plugin for pytest, which takes of cwltool's tests those that need ``docker`` or ``podman``.

It stands alone (``-p container_tests``), for it is copied to where an unprivileged user finds it.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

_REASONS = ("Requires the docker executable", "Requires the podman executable")
_EXCEPTIONS = Path(__file__).with_name("exceptions.txt")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep what a mark of cwltool's says to need a container engine; mark the exceptions."""
    wanted = [item for item in items if _needs_container(item)]
    config.hook.pytest_deselected(items=[item for item in items if item not in wanted])
    items[:] = wanted
    reasons = exceptions()
    for item in items:
        name = item.nodeid.partition("[")[0]
        if name in reasons:
            item.add_marker(pytest.mark.xfail(reason=reasons[name], strict=False))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that is skipped has not passed, unless it is an exception."""
    report = yield
    excepted = item.get_closest_marker("xfail") is not None
    if report.skipped and not excepted and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, and no exception says why: {report.longrepr}"
    return report


def exceptions() -> dict[str, str]:
    """The reasons by the ids of the tests."""
    lines = (line.strip() for line in _EXCEPTIONS.read_text().splitlines())
    split = (line.partition(" ") for line in lines if line and not line.startswith("#"))
    return {name: reason for name, _, reason in split}


def _needs_container(item: pytest.Item) -> bool:
    marks = item.iter_markers("skipif")
    return any(str(mark.kwargs.get("reason", "")).startswith(_REASONS) for mark in marks)
