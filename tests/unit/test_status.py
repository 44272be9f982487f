"""The shim gives back what became of its child: under the kernel, under proot, under qemu."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from cwl_userspace.engines.status import NOWHERE, status_program
from cwl_userspace.kernel import seccomp
from cwl_userspace.kernel.syscalls import MOUNT_ATTR_RDONLY
from cwl_userspace.script import BLOCK, REPORT, TooLong, descriptors, script
from tests.containers import waiting

pytestmark = pytest.mark.once

HERE = os.uname().machine
PROOT = shutil.which("proot") or "proot"
QEMU = shutil.which("qemu-aarch64-static") or "qemu-aarch64-static"
# On aarch64 the native way is the one that qemu stands in for elsewhere.
WAYS = ["plain", "proot", *([] if HERE == "aarch64" else ["qemu"])]


class Shim:
    """Start programs through the shim, by the kernel or by an emulator of it."""

    def __init__(self, way: str, place: Path) -> None:
        self.way = way
        self.prefix = {"plain": [], "proot": [PROOT, "-r", "/"], "qemu": [QEMU]}[way]
        self._machine = "aarch64" if way == "qemu" else HERE
        self._place = place

    def start(
        self,
        path: str | Path,
        argv: Sequence[str | bytes],
        environment: Mapping[str, str] | None = None,
        report: int = NOWHERE,
        values: Mapping[str, Any] | None = None,
        **given: Any,
    ) -> subprocess.Popen[bytes]:
        """The running shim; ``values`` are those of a script."""
        words = [os.fsdecode(word) for word in argv]
        wanted = dict(os.environ) if environment is None else environment
        blocks = descriptors(script(str(path), words, wanted, **(values or {})), str(self._place))
        kept = [] if report == NOWHERE else [report]
        try:
            return subprocess.Popen(
                self.command(report, blocks[0]), pass_fds=[*blocks, *kept], **given
            )
        finally:
            for fd in blocks:
                os.close(fd)

    def run(self, path: str | Path, argv: Sequence[str | bytes], **given: Any) -> Ran:
        """How the shim ended, and what was printed."""
        feed = given.pop("input", None)
        given.setdefault("stdin", subprocess.PIPE)
        with self.start(path, argv, stdout=subprocess.PIPE, **given) as process:
            out, _ = process.communicate(feed, timeout=20)
        return Ran(process.returncode, out)

    def command(self, report: int = NOWHERE, block: int = NOWHERE) -> list[str]:
        """The words that start a shim with these descriptors."""
        path = self._place / f"shim-{report}-{block}"
        path.write_bytes(status_program(self._machine, report, block))
        path.chmod(0o755)
        return [*self.prefix, str(path)]


class Ran(NamedTuple):
    code: int
    out: bytes


@pytest.fixture(params=WAYS)
def shim(request: pytest.FixtureRequest, tmp_path: Path) -> Shim:
    """Each way to run one."""
    return Shim(request.param, tmp_path)


@pytest.fixture
def plain(tmp_path: Path) -> Shim:
    """As the kernel runs it."""
    return Shim("plain", tmp_path)


def shell(script: str) -> tuple[str, list[str]]:
    return "/bin/sh", ["sh", "-c", script]


@pytest.mark.parametrize(
    ("script", "status"),
    [
        ("exit 0", 0),
        ("exit 7", 7),
        ("exit 255", 255),
        ("kill -9 $$", 137),
        ("kill -TERM $$", 143),
        ("kill -SEGV $$", 139),
        ("(exit 3) & sleep 0.1; exit 4", 4),
    ],
)
def test_the_status_of_the_child_comes_back(shim: Shim, script: str, status: int) -> None:
    assert shim.run(*shell(script)).code == status


def test_programs_that_cannot_be_run_have_the_shells_codes(shim: Shim, tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("words")
    executable = tmp_path / "executable"
    executable.write_text("no program\n")
    executable.chmod(0o755)

    def code(path: Path) -> int:
        return shim.run(path, ["x"]).code

    assert [code(tmp_path / "missing"), code(text / "below")] == [127, 127]
    assert [code(text), code(tmp_path), code(executable)] == [126, 126, 126]


def test_a_shim_that_is_told_nothing_has_an_error_of_ours(shim: Shim) -> None:
    assert subprocess.run(shim.command(), timeout=20).returncode == 125


def test_arguments_and_environment_arrive_byte_for_byte(shim: Shim) -> None:
    words = [b"", b"two words", b"line\nbreak", b"\xff\xfe", b"", b"'\"$x\\"]
    reader = "import sys; sys.stdout.buffer.write(open('/proc/self/cmdline', 'rb').read())"
    seen = shim.run(sys.executable, ["zero", "-c", reader, *words]).out
    assert seen.split(b"\0")[0] == b"zero" and seen.split(b"\0")[3:-1] == words
    environment = {"ONE": "1", "EMPTY": "", "BYTES": os.fsdecode(b"\xff =\n")}
    ran = shim.run("/usr/bin/env", ["env", "-0"], environment=environment)
    assert ran == (0, b"ONE=1\0EMPTY=\0BYTES=\xff =\n\0")
    assert shim.run("/usr/bin/env", ["env", "-0"], environment={}) == (0, b"")


def test_nothing_of_what_is_executed_is_among_the_shims_words(plain: Shim) -> None:
    process = plain.start("/bin/sleep", ["sleep", "30"], {"SECRET": "told"}, env={})
    try:
        # The kernel has a new program's words a moment after Popen has seen that it was started.
        words = next(filter(None, (_words(process.pid) for _ in waiting(10))), b"")
        variables = Path(f"/proc/{process.pid}/environ").read_bytes()
        assert b"sleep" not in words and words.count(b"\0") == 1 and variables == b""
        assert [path.name for path in Path(f"/proc/{process.pid}/fd").iterdir()] == ["0", "1", "2"]
    finally:
        process.terminate()
        process.wait(20)


def _words(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def test_twenty_thousand_words_arrive_and_more_than_the_kernel_takes_is_an_error(
    shim: Shim,
) -> None:
    words = [str(number) for number in range(20_000)]
    ran = shim.run("/bin/sh", ["sh", "-c", 'echo $# "$1" "${20000}"', "sh", *words])
    assert ran.out == b"20000 0 19999\n"
    for many in (["x" * 131072], ["x" * 100_000] * 70):
        with pytest.raises(TooLong, match="'sh' are too long"):
            shim.run("/bin/sh", ["sh", *many])


def test_the_longest_word_that_the_kernel_takes_arrives(plain: Shim) -> None:
    ran = plain.run("/bin/sh", ["sh", "-c", "echo ${#1}", "sh", "x" * 131071])
    assert ran.out == b"131071\n"


def test_standard_input_is_the_childs(shim: Shim) -> None:
    assert shim.run("/bin/cat", ["cat"], input=b"through").out == b"through"


def test_the_child_leads_a_session_of_its_own(shim: Shim) -> None:
    ran = shim.run(sys.executable, ["py", "-c", "import os; print(os.getsid(0) == os.getpid())"])
    assert ran.out == b"True\n"


def test_standard_input_becomes_its_terminal_when_asked(shim: Shim) -> None:
    for asked, seen in ((True, b"tty\n"), (False, b"")):
        master, slave = os.openpty()
        ran = shim.run(
            *shell("(: < /dev/tty) 2> /dev/null && echo tty"),
            values={"terminal": asked},
            stdin=slave,
        )
        os.close(slave)
        os.close(master)
        assert ran.out == seen


def test_filters_bind_the_child_and_not_the_shim(plain: Shim) -> None:
    code = seccomp.program(HERE, [seccomp.Rule("socket", seccomp.refuse(13))])
    script = "import socket\ntry: socket.socket()\nexcept PermissionError: print('refused')"
    values = {"filters": [code.hex(), seccomp.program(HERE, []).hex()]}
    process = plain.start(
        sys.executable, ["py", "-c", script + "\ninput()"], values=values,
        stdout=subprocess.PIPE, stdin=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None and process.stdout.readline() == b"refused\n"
    assert "Seccomp:\t0" in Path(f"/proc/{process.pid}/status").read_text()
    process.communicate(b"\n", timeout=20)
    assert process.returncode == 0


def test_a_filter_that_the_kernel_does_not_take_keeps_the_program_from_starting(
    plain: Shim,
) -> None:
    assert plain.run("/bin/echo", ["echo", "x"], values={"filters": ["00" * 8]}) == (125, b"")


def test_the_child_has_no_new_privileges(shim: Shim) -> None:
    ran = shim.run("/bin/grep", ["grep", "NoNewPrivs", "/proc/self/status"])
    assert ran.out == b"NoNewPrivs:\t1\n" or shim.way == "qemu"


def test_mounts_are_made_read_only_before_the_program_starts(plain: Shim, tmp_path: Path) -> None:
    # As in an engine that can bind only what may be written.
    (tmp_path / "bound").mkdir()
    bind = f"mount --bind {tmp_path}/bound {tmp_path}/bound"
    plain.prefix = ["unshare", "--user", "--map-root-user", "--mount"]
    plain.prefix += ["sh", "-c", f'{bind} && exec "$@"', "sh"]
    command = f"(echo x > {tmp_path}/bound/f) 2>&1; mount -o remount,rw,bind {tmp_path}/bound; echo"
    values = {"attributes": [[f"{tmp_path}/bound", MOUNT_ATTR_RDONLY]], "ids": (1234, 1234)}
    ran = plain.run(*shell(command), values=values)
    assert ran.code == 0 and b"Read-only" in ran.out
    assert not (tmp_path / "bound/f").exists()


def test_the_streams_may_come_by_other_descriptors(tmp_path: Path) -> None:
    # What has a higher number is the test runner's, and not what streams are passed by.
    shown = "echo out; echo err >&2; ls /proc/self/fd | grep -x ."
    values = script(*shell(shown), {"PATH": "/bin"}, streams=True)
    ran = at_fixed_numbers(values, tmp_path, null=True)
    assert (ran.stdout, ran.stderr) == (b"out\n0\n1\n2\n3\n", b"err\n")


def at_fixed_numbers(
    values: Mapping[str, Any], place: Path, null: bool = False
) -> subprocess.CompletedProcess[bytes]:
    """A shim that finds everything under the numbers that engines agree upon."""
    shim = Shim("plain", place)
    command = shim.command(REPORT, BLOCK)

    def prepare() -> None:
        held = [os.dup2(fd, 50 + fd) for fd in descriptors(values, str(place))]
        for number, fd in enumerate(held, BLOCK):
            os.dup2(fd, number)
        os.closerange(BLOCK + len(held), 100)
        if null:
            for fd in (0, 1, 2):
                os.dup2(os.open(os.devnull, os.O_RDWR), fd)

    return subprocess.run(
        command, capture_output=True, preexec_fn=prepare, close_fds=False, timeout=20
    )


def test_the_child_can_be_somebody_in_a_user_name_space_below(plain: Shim) -> None:
    # The shim must be user 0 of its own, as it is where a runtime has started it.
    plain.prefix = ["unshare", "--user", "--map-root-user"]
    ran = plain.run(
        *shell("id -u; id -g; grep CapEff /proc/self/status; cat /proc/self/setgroups"),
        values={"ids": (1234, 2345)},
    )
    assert ran.out.split() == [b"1234", b"2345", b"CapEff:", b"0" * 16, b"deny"]


def test_a_hidden_shim_cannot_be_looked_into(plain: Shim) -> None:
    for hidden, code in ((True, 1), (False, 0)):
        ran = plain.run(*shell("sleep 0.2; readlink /proc/$PPID/exe"), values={"hidden": hidden})
        assert ran.code == code or os.geteuid() == 0


def test_shim_and_child_end_with_what_started_them_when_asked(tmp_path: Path) -> None:
    for bound in (True, False):
        reader, writer = os.pipe()
        starter = os.fork()
        if starter == 0:
            shim = Shim("plain", tmp_path)
            shim.start(*shell("exec sleep 3"), values={"bound": bound}, stdout=writer)
            os.close(writer)
            time.sleep(30)
        os.close(writer)
        time.sleep(1)
        os.kill(starter, signal.SIGKILL)
        os.waitpid(starter, 0)
        began = time.monotonic()
        assert os.read(reader, 10) == b""
        os.close(reader)
        assert (time.monotonic() - began < 1) == bound


def start(shim: Shim, script: str) -> tuple[subprocess.Popen[bytes], int]:
    """A running shim whose child has printed a line, and the pid of the shim itself."""
    process = shim.start(
        *shell(f"echo $PPID; {script}"), stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdout
    return process, int(process.stdout.readline())


def test_a_signal_sent_to_the_shim_reaches_the_child(shim: Shim) -> None:
    process, pid = start(shim, "trap 'echo told; exit 9' TERM; echo; while :; do sleep 0.05; done")
    assert process.stdout
    process.stdout.readline()
    os.kill(pid, signal.SIGTERM)
    assert process.stdout.read() == b"told\n"
    assert process.wait(timeout=20) == 9


def test_a_child_that_stops_has_not_ended(shim: Shim) -> None:
    process, _ = start(shim, "echo $$; (sleep 0.3; kill -CONT $$) & kill -STOP $$; wait; exit 5")
    assert process.wait(timeout=20) == 5


def test_a_child_with_no_handler_ends_by_the_signal(shim: Shim) -> None:
    process, pid = start(shim, "exec sleep 30")
    time.sleep(0.2)
    os.kill(pid, signal.SIGTERM)
    assert process.wait(timeout=20) == 143


def test_the_shim_passes_on_a_signal_to_its_group_and_outlives_it(shim: Shim) -> None:
    process, pid = start(shim, "trap 'sleep 0.3; exit 6' INT; echo; while :; do sleep 0.05; done")
    assert process.stdout
    process.stdout.readline()
    os.killpg(os.getpgid(pid), signal.SIGINT)
    assert process.wait(timeout=20) == 6


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGPROF, signal.SIGRTMIN])
def test_signals_that_no_supervisor_forwards_are_dropped(plain: Shim, number: int) -> None:
    process, pid = start(plain, "sleep 0.3; exit 3")
    os.kill(pid, number)
    assert process.wait(timeout=20) == 3


def test_keys_at_the_terminal_reach_the_child_once(shim: Shim) -> None:
    script = (
        "n=0; trap 'n=$((n+1))' INT; echo ready; for i in 1 2 3 4 5 6; do sleep 0.1; done; exit $n"
    )
    master, slave = os.openpty()
    process = shim.start(
        *shell(script), values={"terminal": True}, stdin=slave, stdout=slave, start_new_session=True
    )
    os.close(slave)
    seen = b""
    while b"ready" not in seen:
        seen += os.read(master, 100)
    os.write(master, b"\x03")
    assert process.wait(timeout=20) == 1
    os.close(master)


def test_the_child_has_the_callers_signal_mask_and_dispositions(shim: Shim) -> None:
    def prepare() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGUSR2})
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)

    ran = shim.run("/bin/grep", ["grep", "^Sig[BI]", "/proc/self/status"], preexec_fn=prepare)
    state = dict(line.split(":\t") for line in ran.out.decode().splitlines())
    assert int(state["SigBlk"], 16) == 1 << (signal.SIGUSR2 - 1)
    if shim.way != "qemu":  # which has handlers of its own
        assert int(state["SigIgn"], 16) & (1 << (signal.SIGUSR1 - 1))
    assert not int(state["SigIgn"], 16) & (1 << (signal.SIGCHLD - 1))


def test_a_child_that_the_shim_had_before_is_reaped_and_no_more(tmp_path: Path) -> None:
    # sh execs the shim, which so has a child already, one that ends first with another status
    shim = Shim("plain", tmp_path)
    shim.prefix = ["/bin/sh", "-c", '(sleep 0.1; exit 9) & exec "$@"', "sh"]
    ran = shim.run(*shell("sleep 0.3; ps -o stat= --ppid $PPID | grep -c Z; exit 2"))
    assert ran == (2, b"0\n")


@pytest.mark.parametrize(
    ("script", "status"),
    [("exit 7", 7), ("kill -9 $$", 137), ("exec /missing", 127), ("echo x >&$REPORT", 2)],
)
def test_the_status_is_reported_at_once_to_a_descriptor_that_the_child_does_not_have(
    tmp_path: Path, script: str, status: int
) -> None:
    reader, writer = os.pipe()
    environment = {**os.environ, "REPORT": str(writer)}
    shim = Shim("proot", tmp_path)
    with shim.start(*shell(f"sleep 1 & {script}"), environment, report=writer) as process:
        os.close(writer)
        began = time.monotonic()
        assert os.read(reader, 10) == bytes([status])
        assert time.monotonic() - began < 0.9  # proot itself waits for the sleeping one
        process.wait(timeout=20)


def test_a_child_that_cannot_be_started_is_reported_too(plain: Shim) -> None:
    reader, writer = os.pipe()
    plain.run("/missing", ["x"], report=writer)
    subprocess.run(plain.command(report=writer), pass_fds=[writer], timeout=20)
    assert os.read(reader, 10) == bytes([127, 125])


@pytest.mark.parametrize(("machine", "number"), [("x86_64", 62), ("aarch64", 183)])
def test_the_program_is_a_small_static_elf_without_an_executable_stack(
    machine: str, number: int
) -> None:
    program = status_program(machine)
    assert len(program) < 1024
    kind, elf_machine, version, entry = struct.unpack_from("<HHIQ", program, 16)
    assert (program[:7], kind, elf_machine, version) == (b"\x7fELF\2\1\1", 2, number, 1)
    headers = [struct.unpack_from("<IIQQQQQQ", program, 64 + 56 * i) for i in range(2)]
    load, stack = headers
    assert load[:3] == (1, 5, 0) and load[5] == load[6] == len(program)
    assert load[3] % load[7] == 0 and load[3] < entry < load[3] + len(program)
    assert stack[:2] == (0x6474E551, 6)


@pytest.mark.parametrize(
    ("machine", "digest"),
    [
        ("x86_64", "c04300505ea66912f1f06f93c287144aa1f84af79e5ad41ad62ad9486c2efb12"),
        ("aarch64", "73ffdad6d8dc0f82716224ccbc01d5c911312904bd0c9aff93fb9d2a2a89aa18"),
    ],
)
def test_the_program_is_the_one_that_agreed_with_an_assembler(machine: str, digest: str) -> None:
    # GNU as made the same code from the mnemonics of the listing; after a change, compare again
    assert hashlib.sha256(status_program(machine)).hexdigest() == digest


def test_a_machine_that_has_no_shim_is_an_error() -> None:
    with pytest.raises(KeyError):
        status_program("riscv64")
    with pytest.raises(ValueError, match="descriptor -1"):
        status_program("x86_64", report=-1)
