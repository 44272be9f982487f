"""How cwltool's jobs start our command: by a server that forks, where cwltool can be told so.

Two names that cwltool's jobs look up when they run are replaced: the module ``subprocess``, by one
whose Popen asks the server where our command is to be executed and is the real one for all else;
and ``_job_popen``, to give each job a monitor that waits for what the server knows of its memory.
A cwltool that was compiled by mypyc looks no names up, so there each job executes the command.
"""

from __future__ import annotations

import errno
import functools
import os
import subprocess
import threading
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, Any

import cwltool.job
import cwltool.main
from cwltool.loghandler import _logger
from cwltool.utils import processes_to_kill

from cwl_userspace.cwl.launcher import Job, Launcher, Unavailable

# What may be set to ``off`` to have every job execute the command.
SWITCH = "CWL_USERSPACE_LAUNCHER"
_MIB = 1 << 20
_jobs: Any = cwltool.job
_ends: Any = cwltool.main


@contextmanager
def launcher() -> Iterator[None]:
    """Meanwhile jobs that execute a command named by ``serve`` may be started by a server."""
    if os.environ.get(SWITCH) == "off" or not _can_be_told():
        yield
        return
    starter = _starter()
    starter.open()
    try:
        yield
    finally:
        starter.close()


def _can_be_told() -> bool:
    return isinstance(_jobs.subprocess, _Starter) or isinstance(
        _jobs._job_popen, types.FunctionType
    )


def _starter() -> _Starter:
    """The one of this process. It stays: no thread that cwltool leaves behind is to start a job."""
    if not isinstance(_jobs.subprocess, _Starter):
        starter = _jobs.subprocess = _Starter()
        _jobs._job_popen = functools.partial(starter.job_popen, _jobs._job_popen)
        _ends._terminate_processes = functools.partial(_terminate, _ends._terminate_processes)
    found: _Starter = _jobs.subprocess
    return found


def serve(command: str) -> None:
    """Have jobs that execute ``command`` started by the server, if there is to be one.

    It gets ready while cwltool goes on.
    """
    starter = _jobs.subprocess
    if isinstance(starter, _Starter):
        starter.serve(command)


class _Starter:
    """What cwltool's jobs take for the module ``subprocess``."""

    def __init__(self) -> None:
        self._commands: set[str] = set()
        self._lock = threading.Lock()
        self._launcher: Launcher | None = None
        self._tried = self._closed = False

    def __getattr__(self, name: str) -> Any:
        return getattr(subprocess, name)

    def open(self) -> None:
        """There may be jobs, and so a server, from now on."""
        self._tried = self._closed = False

    def serve(self, command: str) -> None:
        """Start the server, the first time, for this command and all others that follow."""
        with self._lock:
            self._commands.add(command)
            if self._tried:
                return
            self._tried = True
            try:
                self._launcher = Launcher()
            except OSError as error:
                self._give_up(str(error))

    def close(self) -> None:
        """End the server, and all jobs with it."""
        with self._lock:
            self._closed = True
            server, self._launcher = self._launcher, None
        if server is not None:
            server.close()

    def Popen(self, args: Sequence[str], **given: Any) -> Any:
        """A job of the server's where the command is ours, else what subprocess makes of it."""
        if not self._is_ours(args):
            return subprocess.Popen(args, **given)
        if self._closed:
            raise OSError(errno.ECANCELED, "no job is started any more", args[0])
        server = self._launcher
        if server is not None:
            try:
                return _start(server, args, **given)
            except Unavailable as reason:
                self._give_up(str(reason))
        return subprocess.Popen(args, **given)

    def job_popen(
        self, job_popen: Callable[..., int], commands: list[str], *others: Any, **given: Any
    ) -> int:
        """cwltool's own function, with a monitor of ours where the server will start the job."""
        if "name" in given and "monitor_function" in given and self._is_ours(commands):
            given["monitor_function"] = functools.partial(
                _monitor, given["name"], given["monitor_function"]
            )
        return job_popen(commands, *others, **given)

    def _is_ours(self, args: Sequence[str]) -> bool:
        """False for mpirun, for one, which is to execute our command itself."""
        return bool(args) and args[0] in self._commands

    def _give_up(self, reason: str) -> None:
        _logger.warning("each container is started by a new Python from now on: %s", reason)
        self._launcher = None


def _start(
    server: Launcher,
    args: Sequence[str],
    *,
    stdin: Any,
    stdout: Any,
    stderr: Any,
    env: Mapping[str, str],
    cwd: str,
    universal_newlines: bool,
    **others: Any,
) -> Job:
    """A job with Popen's arguments as cwltool gives them."""
    ends = os.pipe() if stdin == subprocess.PIPE else None
    pipe: IO[Any] | None = None
    try:
        if ends:
            pipe = os.fdopen(ends[1], "w" if universal_newlines else "wb")
        streams = [ends[0] if ends else stdin.fileno(), stdout.fileno(), stderr.fileno()]
        job, pid = server.start(args, streams, env, cwd)
    except BaseException:
        if pipe is not None:
            pipe.close()
        raise
    finally:
        if ends:
            os.close(ends[0])
    return Job(args, job, pid, pipe)


def _monitor(
    name: str | None, others: Callable[[Any], None] | None, process: Job | subprocess.Popen[Any]
) -> None:
    """Wait for a job's end and say how much memory it had, in the words of cwltool's monitors.

    Theirs is asked where the command had to be executed: it does not know the server's jobs.
    """
    if isinstance(process, Job):
        process.wait()
        if process.memory:
            _logger.info("[job %s] Max memory used: %iMiB", name, round(process.memory / _MIB))
    elif others is not None:
        others(process)


def _terminate(terminate: Callable[[], None]) -> None:
    """cwltool's end: what still runs is asked to end; cwltool alone would wait, and then kill."""
    for process in list(processes_to_kill):
        if isinstance(process, Job):
            process.terminate()
    terminate()
