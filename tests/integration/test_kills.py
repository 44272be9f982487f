"""kill -9 of any process of ours, alone or two at once, leaves nothing of the container alive."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal

import pytest

from tests.containers import Box, Home, all_gone, marker, waiting, with_marker
from tests.integration.test_lifetime import children, tree

PARTS = ("supervisor", "keeper", "proot", "shim")
# A tool that never stops making processes: whoever lists them misses the newest.
RESTLESS = "while :; do (sh -c 'sleep 0.3; exit 0' {0} &); sleep 0.01; done"


def parts(supervisor: int) -> dict[str, int]:
    """The processes of a run under proot, in a line from the one that the caller started."""
    line = [supervisor]
    while len(line) < len(PARTS):
        line.append(children(line[-1])[0])  # orphans of the container come after it
    return dict(zip(PARTS, line, strict=True))


def proot_of(home: Home) -> Box:
    return Box(home, "proot")


@pytest.mark.parametrize(
    "killed",
    [*itertools.combinations(PARTS, 1), *itertools.combinations(PARTS, 2)],
    ids="-".join,
)
def test_nothing_survives_a_kill_of_any_one_or_two_of_ours(
    home: Home, killed: tuple[str, ...]
) -> None:
    word = marker()
    process = proot_of(home).start_sh(tree(word, "exec sleep 1000"))
    ours = parts(process.pid)
    assert len(with_marker(word)) >= 4
    for name in killed:  # so that the first has no time to see to the second
        os.kill(ours[name], signal.SIGSTOP)
    for name in killed:
        with contextlib.suppress(ProcessLookupError):  # it may have died of the first one's death
            os.kill(ours[name], signal.SIGKILL)
    assert all_gone(word, 5)
    code = process.wait(5)
    assert code == -signal.SIGKILL if "supervisor" in killed else code in (125, 137), code


# Both at once is no promise: proot 5.1 never lets go of a process that it saw before its parent's
# fork, if the parent has died since, and that one stays as it was born, stopped.
@pytest.mark.parametrize("killed", PARTS[:2])
def test_a_tool_that_makes_processes_all_the_time_does_not_survive_either(
    home: Home, killed: str
) -> None:
    word = marker()
    process = proot_of(home).start_sh(tree(word, RESTLESS.format(word)))
    os.kill(parts(process.pid)[killed], signal.SIGKILL)
    assert all_gone(word, 5)
    process.wait(5)


def test_a_tool_that_kills_the_shim_has_ended_the_container(home: Home) -> None:
    word = marker()
    script = f"export MARKER={word}; sleep 1000 & kill -9 $PPID; sleep 1000"
    ran = proot_of(home).sh(script)
    assert ran.code in (125, 137)
    assert all_gone(word, 2)
    assert any(not with_marker(word) for _ in waiting(2))
