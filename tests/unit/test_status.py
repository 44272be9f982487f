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
from pathlib import Path

import pytest

from cwl_userspace.engines.status import status_program

HERE = os.uname().machine
PROOT = shutil.which("proot") or "proot"
QEMU = shutil.which("qemu-aarch64-static") or "qemu-aarch64-static"
# On aarch64 the native way is the one that qemu stands in for elsewhere.
WAYS = ["plain", "proot", *([] if HERE == "aarch64" else ["qemu"])]


@pytest.fixture(params=WAYS)
def shim(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    """The words that start the shim."""
    path = tmp_path / "shim"
    path.write_bytes(status_program("aarch64" if request.param == "qemu" else HERE))
    path.chmod(0o755)
    prefixes = {"plain": [], "proot": [PROOT, "-r", "/"], "qemu": [QEMU]}
    return [*prefixes[request.param], str(path)]


def shell(script: str) -> list[str]:
    return ["/bin/sh", "sh", "-c", script]


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
def test_the_status_of_the_child_comes_back(shim: list[str], script: str, status: int) -> None:
    assert subprocess.run(shim + shell(script), timeout=20).returncode == status


def test_programs_that_cannot_be_run_have_the_shells_codes(shim: list[str], tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("words")
    executable = tmp_path / "executable"
    executable.write_text("no program\n")
    executable.chmod(0o755)

    def code(path: Path) -> int:
        return subprocess.run([*shim, str(path), "x"], timeout=20).returncode

    assert [code(tmp_path / "missing"), code(text / "below")] == [127, 127]
    assert [code(text), code(tmp_path), code(executable)] == [126, 126, 126]


def test_words_that_are_missing_are_an_error_of_ours(shim: list[str]) -> None:
    assert subprocess.run(shim, timeout=20).returncode == 125
    assert subprocess.run([*shim, "/bin/true"], timeout=20).returncode == 125


def test_arguments_and_environment_arrive_byte_for_byte(shim: list[str]) -> None:
    words = [b"", b"two words", b"line\nbreak", b"\xff\xfe", b"", b"'\"$x\\"]
    environment = {b"ONE": b"1", b"EMPTY": b"", b"BYTES": b"\xff =\n"}
    reader = "import sys; sys.stdout.buffer.write(open('/proc/self/cmdline', 'rb').read())"
    command = [*map(os.fsencode, [*shim, sys.executable, "zero", "-c", reader]), *words]
    seen = subprocess.run(command, stdout=subprocess.PIPE, timeout=20, check=True).stdout
    assert seen.split(b"\0")[3:-1] == words
    assert seen.split(b"\0")[0] == b"zero"
    lines = subprocess.run(
        [*shim, "/usr/bin/env", "env", "-0"],
        stdout=subprocess.PIPE,
        env=environment,
        timeout=20,
        check=True,
    ).stdout
    assert set(lines.split(b"\0")) >= {b"ONE=1", b"EMPTY=", b"BYTES=\xff =\n"}


def test_an_environment_among_the_words_replaces_the_shims_own(shim: list[str]) -> None:
    def printed(*words: str) -> bytes:
        command = [*shim, "", *words, "", "/usr/bin/env", "env", "-0"]
        return subprocess.run(command, stdout=subprocess.PIPE, timeout=20, check=True).stdout

    assert printed("ONE=1", "EMPTY=", "TWO=a\nb") == b"ONE=1\0EMPTY=\0TWO=a\nb\0"
    assert printed() == b""


def test_an_environment_without_an_end_is_an_error_of_ours(shim: list[str]) -> None:
    assert subprocess.run([*shim, "", "A=b", "/bin/true"], timeout=20).returncode == 125


def test_standard_input_is_the_childs(shim: list[str]) -> None:
    ran = subprocess.run(
        [*shim, "/bin/cat", "cat"], input=b"through", stdout=subprocess.PIPE, timeout=20
    )
    assert ran.stdout == b"through"


def start(shim: list[str], script: str) -> tuple[subprocess.Popen[bytes], int]:
    """A running shim whose child has printed a line, and the pid of the shim itself."""
    process = subprocess.Popen(
        shim + shell(f"echo $PPID; {script}"), stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdout
    return process, int(process.stdout.readline())


def test_a_signal_sent_to_the_shim_reaches_the_child(shim: list[str]) -> None:
    process, pid = start(shim, "trap 'echo told; exit 9' TERM; echo; while :; do sleep 0.05; done")
    assert process.stdout
    process.stdout.readline()
    os.kill(pid, signal.SIGTERM)
    assert process.stdout.read() == b"told\n"
    assert process.wait(timeout=20) == 9


def test_a_child_that_stops_has_not_ended(shim: list[str]) -> None:
    process, _ = start(shim, "echo $$; (sleep 0.3; kill -CONT $$) & kill -STOP $$; wait; exit 5")
    assert process.wait(timeout=20) == 5


def test_a_child_with_no_handler_ends_by_the_signal(shim: list[str]) -> None:
    process, pid = start(shim, "exec sleep 30")
    time.sleep(0.2)
    os.kill(pid, signal.SIGTERM)
    assert process.wait(timeout=20) == 143


def test_the_shim_outlives_a_signal_to_its_group_and_reports(shim: list[str]) -> None:
    process, pid = start(shim, "trap 'sleep 0.3; exit 6' INT; echo; while :; do sleep 0.05; done")
    assert process.stdout
    process.stdout.readline()
    os.killpg(os.getpgid(pid), signal.SIGINT)
    assert process.wait(timeout=20) == 6


def test_signals_from_a_terminal_are_told_once(shim: list[str]) -> None:
    script = (
        "n=0; trap 'n=$((n+1))' INT; echo ready; for i in 1 2 3 4 5 6; do sleep 0.1; done; exit $n"
    )
    pid, terminal = os.forkpty()
    if pid == 0:
        os.execv(shim[0], shim + shell(script))
    seen = b""
    while b"ready" not in seen:
        seen += os.read(terminal, 100)
    os.write(terminal, b"\x03")
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 1


def test_the_child_has_the_callers_signal_mask_and_dispositions(shim: list[str]) -> None:
    def prepare() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGUSR2})
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)

    ran = subprocess.run(
        [*shim, "/bin/grep", "grep", "^Sig[BI]", "/proc/self/status"],
        stdout=subprocess.PIPE,
        preexec_fn=prepare,
        timeout=20,
        check=True,
    )
    state = dict(line.split(":\t") for line in ran.stdout.decode().splitlines())
    assert int(state["SigBlk"], 16) == 1 << (signal.SIGUSR2 - 1)
    if "qemu" not in shim[0]:  # which has handlers of its own
        assert int(state["SigIgn"], 16) & (1 << (signal.SIGUSR1 - 1))
    assert not int(state["SigIgn"], 16) & (1 << (signal.SIGCHLD - 1))


def test_the_callers_other_children_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "shim"
    path.write_bytes(status_program(HERE))
    path.chmod(0o755)
    # sh execs the shim, which so has a child already, one that ends first with another status
    script = f"(exit 9) & exec {path} /bin/sh sh -c 'sleep 0.3; exit 2'"
    assert subprocess.run(["/bin/sh", "-c", script], timeout=20).returncode == 2


@pytest.mark.parametrize(
    ("script", "status"),
    [("exit 7", 7), ("kill -9 $$", 137), ("exec /missing", 127), ("echo x >&$REPORT", 2)],
)
def test_the_status_is_reported_at_once_to_a_descriptor_that_the_child_does_not_have(
    tmp_path: Path, script: str, status: int
) -> None:
    reader, writer = os.pipe()
    path = tmp_path / "shim"
    path.write_bytes(status_program(HERE, report=writer))
    path.chmod(0o755)
    command = [PROOT, "-r", "/", str(path), *shell(f"sleep 1 & {script}")]
    environment = {**os.environ, "REPORT": str(writer)}
    with subprocess.Popen(command, pass_fds=[writer], env=environment) as process:
        os.close(writer)
        began = time.monotonic()
        assert os.read(reader, 10) == bytes([status])
        assert time.monotonic() - began < 0.9  # proot itself waits for the sleeping one
        process.wait(timeout=20)


def test_a_child_that_cannot_be_started_is_reported_too(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    path = tmp_path / "shim"
    path.write_bytes(status_program(HERE, report=writer))
    path.chmod(0o755)
    subprocess.run([path, "/missing", "x"], pass_fds=[writer], timeout=20)
    subprocess.run([path], pass_fds=[writer], timeout=20)
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
        ("x86_64", "bbc79de424ed418bb00ea26502ea811c85486483a7f274be9888b47d3180da4b"),
        ("aarch64", "a78d4de925ed1054a936186f91fc43bb49dd2603ee8cff9f4ef25b5e896cfbf7"),
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
