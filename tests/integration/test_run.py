"""``run``: exit codes, arguments, environment, identity and working directory, with each engine."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.containers import (
    PASSWD,
    UNCOUNTED,
    Box,
    Home,
    Tar,
    busybox,
    docker_archive,
    lines,
    shell_layer,
)

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SHOW_ARGUMENTS = 'printf "%s\\0" "$@"'


def variables(output: bytes) -> dict[str, str]:
    text = [line.decode("utf-8", "surrogateescape") for line in lines(output)]
    return dict(line.split("=", 1) for line in text)


@pytest.mark.every_engine
@pytest.mark.parametrize("code", [0, 1, 7, 125, 126, 127, 255])
def test_the_exit_code_of_the_tool_comes_through(box: Box, code: int) -> None:
    assert box.sh(f"exit {code}") == (code, b"", b"")


@pytest.mark.every_engine
@pytest.mark.parametrize("signal", [9, 15, 2, 6, 11, 13])
def test_a_tool_that_a_signal_ends_gives_128_and_the_signal(box: Box, signal: int) -> None:
    assert box.sh(f"kill -{signal} $$; sleep 5") == (128 + signal, b"", b"")


@pytest.mark.every_engine
@pytest.mark.parametrize("program", ["no-such-program", "/no/such/program", "/etc/passwd/x"])
def test_a_program_that_is_not_there_gives_127(box: Box, program: str) -> None:
    ran = box.run("busybox", program)
    assert ran.code == 127 and program in ran.complaint


@pytest.mark.every_engine
@pytest.mark.parametrize("program", ["/bin/not-executable", "/data", "not-executable"])
def test_a_program_that_cannot_be_executed_gives_126(box: Box, program: str) -> None:
    ran = box.run("busybox", program)
    assert ran.code == 126 and program in ran.complaint


def test_a_script_without_its_interpreter_gives_127_as_in_a_shell(box: Box) -> None:
    ran = box.run("busybox", "/bin/no-interpreter")
    assert ran.code == 127 and "/bin/no-interpreter" in ran.complaint


@pytest.mark.every_engine
def test_arguments_arrive_byte_for_byte(box: Box) -> None:
    words = [
        b"",
        b" ",
        b"two words",
        b"'\"`$HOME\\",
        b"line\nline\n",
        b"\xff\xfe latin \xe9",
        "ünï→".encode(),
        b"-it",
        b"--",
        b"-e",
        b"*",
        b"",
    ]
    ran = box.run("busybox", "sh", "-c", SHOW_ARGUMENTS, "sh", *words)
    assert (ran.code, ran.err) == (0, b"")
    assert lines(ran.out) == words


def test_a_hundred_thousand_bytes_in_one_argument_arrive(box: Box) -> None:
    words = [b"x" * 100_000, b"y" * 100_000]
    ran = box.run("busybox", "sh", "-c", SHOW_ARGUMENTS, "sh", *words)
    assert (ran.code, ran.err, lines(ran.out)) == (0, b"", words)


@pytest.mark.every_engine
def test_twenty_thousand_arguments_arrive(box: Box) -> None:
    words = [f"{number}".encode() for number in range(20_000)]
    ran = box.run("busybox", "sh", "-c", SHOW_ARGUMENTS, "sh", *words)
    assert (ran.code, ran.err, lines(ran.out)) == (0, b"", words)


@pytest.mark.every_engine
def test_the_environment_is_the_defaults_and_nothing_of_the_hosts(box: Box) -> None:
    ran = box.run(
        "busybox", "cat", "/proc/self/environ", environment={"SECRET": "of the host", **UNCOUNTED}
    )
    home = "/root" if os.geteuid() == 0 else "/"
    assert (ran.code, ran.err) == (0, b"")
    assert variables(ran.out) == {
        "PATH": DEFAULT_PATH,
        "HOME": home,
        "HOSTNAME": os.uname().nodename,
    }


def test_variables_of_the_image_are_set_and_env_wins(box: Box) -> None:
    ran = box.run(
        *("--entrypoint", "", "-e", "EMPTY=no more", "--env=NEW=a=b", "-e", "NONE="),
        *("configured", "cat", "/proc/self/environ"),
        environment=UNCOUNTED,
    )
    assert (ran.code, ran.err) == (0, b"")
    assert variables(ran.out) == {
        "PATH": "/data/bin:/bin",
        "HOME": "/home/tool",
        "HOSTNAME": os.uname().nodename,
        "FROM_IMAGE": "is set",
        "LD_PRELOAD": "/no/such.so",
        "EMPTY": "no more",
        "NEW": "a=b",
        "NONE": "",
    }


def test_env_passes_a_variable_on_only_where_the_caller_has_it(box: Box) -> None:
    script = 'echo "$GIVEN,${MISSING-unset}"'
    ran = box.sh(script, "-e", "GIVEN", "-e", "MISSING", environment={"GIVEN": "a  value"})
    assert ran.text == "a  value,unset\n"


def test_odd_values_and_names_of_variables_arrive(box: Box) -> None:
    value = b"line\nline \xff 'quoted' \xc3\xa9"
    ran = box.run("-e", b"ODD=" + value, "-e", "with.dot=1", "busybox", "cat", "/proc/self/environ")
    assert b"ODD=" + value in lines(ran.out) and b"with.dot=1" in lines(ran.out)


def test_variables_come_from_files_and_env_wins(box: Box, tmp_path: Path) -> None:
    file = tmp_path / "variables"
    file.write_text("\ufeff# comment\n\nA=from file\nB=from\u2028file = \nPASSED\r\nABSENT\n")
    script = 'echo "$A,$B,$PASSED,${ABSENT-unset}"'
    ran = box.sh(script, "-e", "A=env", "--env-file", file, environment={"PASSED": "on"})
    assert ran.text == "env,from\u2028file = ,on,unset\n"


def test_proxy_variables_pass_only_when_asked(box: Box) -> None:
    given = {"http_proxy": "http://p:1"}
    assert box.sh("echo $http_proxy", environment=given).text == "\n"
    assert box.sh("echo $http_proxy", "--proxy-env", environment=given).text == "http://p:1\n"


@pytest.mark.parametrize("options", [[], ["-e", "LD_PRELOAD=/x.so", "-e", "PYTHONHOME=/x"]])
def test_variables_for_the_tool_do_not_touch_our_own_programs(box: Box, options: list[str]) -> None:
    given = ["-e", "PROOT_NO_SECCOMP=0", "-e", "PROOT_TMP_DIR=/no", "-e", "PROOT_VERBOSE=9"]
    assert box.run(*given, *options, "busybox", "echo", "fine").text == "fine\n"


def test_entrypoint_and_cmd_follow_dockers_rules(box: Box) -> None:
    assert box.run("configured").text == "from|cmd|"
    assert box.run("configured", "given").text == "given|"
    assert box.run("--entrypoint", "/bin/echo", "configured", "given").text == "given\n"
    assert box.run("--entrypoint", "/bin/echo", "configured").text == "\n"
    assert box.run("--entrypoint=", "configured", "echo", "plain").text == "plain\n"
    assert box.run("--entrypoint=", "configured").code == 125
    assert "no command" in box.run("busybox").complaint


def test_an_image_in_a_docker_archive_runs_as_it_says(box: Box, tmp_path: Path) -> None:
    config = {"Cmd": ["sh", "-c", "echo $A; pwd"], "Env": ["A=1"], "WorkingDir": "/data"}
    archive = docker_archive(tmp_path / "a.tar", "saved:1", shell_layer().bytes(), config)
    assert box.home.call("load", "-i", archive).text == "Loaded image: saved:1\n"
    assert box.run("saved:1").text == "1\n/data\n"


@pytest.mark.every_engine
def test_a_static_program_in_an_empty_image_runs(box: Box) -> None:
    assert box.run("scratch", "/busybox", "echo", "alone").text == "alone\n"
    assert box.run("bare", "/opt/busybox", "sh", "-c", "echo a > /tmp/f; cat /tmp/f").text == "a\n"
    assert box.run("-w", "/made/here", "bare", "/opt/busybox", "pwd").text == "/made/here\n"


def test_i_am_the_caller_inside_and_have_an_account(box: Box) -> None:
    uid, gid = os.geteuid(), os.getegid()
    for image, program in (("busybox", "/bin/busybox"), ("bare", "/opt/busybox")):
        asked = "; ".join(f"{program} id {option}" for option in ("-u", "-g", "-un", "-gn"))
        ran = box.run(image, program, "sh", "-c", asked)
        user, group, name, group_name = ran.text.split()
        assert (int(user), int(group)) == (uid, gid)
        assert name == ("root" if uid == 0 else "somebody")
        assert group_name == ("root" if gid == 0 else "somebody")


@pytest.mark.every_engine
@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("tool", "1234 2345 tool toolgroup /home/tool"),
        ("tool:other", "1234 777 tool other /home/tool"),
        ("1234", "1234 2345 tool toolgroup /home/tool"),
        ("4321", "4321 0 user4321 root /"),
        ("4321:999", "4321 999 user4321 user4321 /"),
        ("root", "0 0 root root /root"),
        ("0", "0 0 root root /root"),
        ("0:0", "0 0 root root /root"),
    ],
)
def test_the_user_that_is_asked_for_is_the_one_inside(box: Box, user: str, expected: str) -> None:
    ran = box.sh("echo $(id -u) $(id -g) $(id -un) $(id -gn) $HOME", "-u", user)
    assert ran.text == expected + "\n"


def test_the_user_of_the_image_is_the_one_inside(box: Box) -> None:
    ran = box.run("--entrypoint=", "configured", "sh", "-c", "id -un; echo $HOME; pwd")
    assert ran.text == "tool\n/home/tool\n/data/work dir\n"


@pytest.mark.every_engine
def test_root_inside_can_write_to_its_own_view_of_the_root(box: Box) -> None:
    script = "echo x > /etc/made; mkdir /new; chmod 700 /etc/made; cat /etc/made; rm /etc/group"
    assert box.sh(script, "-u", "root").text == "x\n"
    assert box.sh("cat /etc/made", "-u", "root").code == 1


def test_accounts_of_the_image_stay_and_a_stranger_is_added(box: Box) -> None:
    passwd = box.sh("cat /etc/passwd", "-u", "4321:999").text
    assert passwd.startswith(PASSWD) and passwd.count("\n") == PASSWD.count("\n") + 1


@pytest.mark.parametrize("user", ["nobody-here", "tool:no-such-group", "root:no-such-group"])
def test_an_unknown_user_or_group_is_refused(box: Box, user: str) -> None:
    ran = box.sh("true", "-u", user)
    assert ran.code == 125 and user.split(":")[-1] in ran.complaint


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ([], "/"),
        (["-w", "/data"], "/data"),
        (["-w", "data"], "/data"),
        (["--workdir=/new one/deep"], "/new one/deep"),
        (["-w", "/jGeEGs"], "/jGeEGs"),
        (["-w", "/data/../etc/."], "/etc"),
        (["-w", "/ünï, code:x"], "/ünï, code:x"),
    ],
)
def test_the_working_directory_is_the_one_asked_for(
    box: Box, options: list[str], place: str
) -> None:
    assert box.run(*options, "busybox", "pwd").text == f"{place}\n"


def test_tmp_can_be_written_whatever_the_image_has_there(box: Box, home: Home) -> None:
    shapes = {
        "existing": shell_layer_without_tmp().link("tmp", "/private/tmp").directory("private/tmp"),
        "dangling": shell_layer_without_tmp().link("tmp", "/private/tmp").link("var", "/private/v"),
        "hostile": shell_layer_without_tmp().link("tmp", "/etc").link("var", "../../.."),
        "closed": shell_layer_without_tmp().directory("tmp", 0o555).directory("var/tmp", 0o500),
    }
    for name, tar in shapes.items():
        image = home.add(f"tmp-{name}-{box.engine}", tar.bytes())
        for options in ([], ["--read-only"]):
            script = "echo a > /tmp/f && cat /tmp/f && ls -A /tmp | grep -c f"
            ran = box.sh(script, *options, image=image)
            assert ran.text.startswith("a\n"), (name, options)
            script = "echo b > /var/tmp/f && cat /var/tmp/f"
            ran = box.sh(script, *options, image=image)
            assert ran.text == "b\n", (name, options)


def shell_layer_without_tmp() -> Tar:
    tar = Tar()
    for name in ("bin", "etc"):
        tar.directory(name)
    tar.file("bin/busybox", busybox(), 0o755)
    for name in ("sh", "cat", "ls", "grep"):
        tar.link(f"bin/{name}", "busybox")
    return tar


def test_what_a_run_writes_is_gone_in_the_next(box: Box) -> None:
    assert box.sh("echo x > /tmp/left; cat /tmp/left").text == "x\n"
    assert box.sh("ls -A /tmp").text == ""


def test_the_container_id_is_written_to_a_new_file_only(box: Box, tmp_path: Path) -> None:
    file = tmp_path / "cid"
    assert box.run("--cidfile", file, "busybox", "true").text == ""
    assert len(file.read_text()) == 64
    ran = box.run(f"--cidfile={file}", "busybox", "true")
    assert ran.code == 125 and "exists" in ran.complaint
    ran = box.run("--cidfile", tmp_path / "no" / "cid", "busybox", "true")
    assert ran.code == 125 and "--cidfile" in ran.complaint


@pytest.mark.parametrize(
    "words",
    [
        ["--no-such-option", "busybox", "true"],
        ["-Z", "busybox", "true"],
        ["--network", "moon", "busybox", "true"],
        ["-e", "=x", "busybox", "true"],
        ["--env-file", "/no/such/file", "busybox", "true"],
        ["--shm-size", "big", "busybox", "true"],
        ["--add-host", "nothing", "busybox", "true"],
        ["--mount", "type=bind,source=/no/such,target=/x", "busybox", "true"],
        ["--mount", "type=tmpfs,target=/x", "busybox", "true"],
        ["--mount", 'type=bind,"source=/tmp,target=/x', "busybox", "true"],
        ["--cpuset-cpus", "²", "busybox", "true"],
        ["--cpuset-cpus", "0-9999999999", "busybox", "true"],
        ["-v", "/tmp:/proc/x", "busybox", "true"],
        ["-v", "/tmp:/", "busybox", "true"],
        ["--name"],
        [],
        ["UPPER/Case", "true"],
    ],
)
def test_words_without_meaning_are_refused_with_a_hint(box: Box, words: list[str]) -> None:
    ran = box.run(*words)
    assert (ran.code, ran.out) == (125, b"")
    assert ran.complaint


@pytest.mark.once
def test_an_image_for_another_platform_is_not_taken(home: Home) -> None:
    here = f"linux/{os.uname().machine}"
    assert home.call("run", "--platform", here, "busybox", "echo", "here").text == "here\n"
    words = ("run", "--platform", "linux/s390x", "busybox", "true")
    ran = home.call("--offline", *words)
    assert ran.code == 125 and "for another platform than linux/s390x" in ran.complaint
    name = home.add("localhost:1/of/here", shell_layer().bytes(), {})
    asked = home.call("run", "--platform", "linux/s390x", name, "true")
    assert asked.code == 125 and "localhost:1 cannot be reached" in asked.complaint


@pytest.mark.once
def test_where_an_error_comes_from_is_shown_to_who_asks_and_not_for_a_programs_words(
    home: Home,
) -> None:
    words = ("--mount", "type=tmpfs", "busybox", "-D", "--debug")
    assert "type 'tmpfs'" in home.call("run", *words).complaint
    for shown in (("-D", "run"), ("--engine", "userns", "--debug", "run"), ("run", "--debug")):
        assert b"Traceback" in home.call(*shown, *words).err


def test_an_unknown_engine_is_refused_with_the_known_ones(home: Home) -> None:
    ran = home.call("--engine", "warp", "run", "busybox", "true")
    assert ran.code == 125 and "userns" in ran.complaint


def test_an_engine_that_is_missing_says_how_to_get_it(home: Home, tmp_path: Path) -> None:
    ran = home.call("--engine=proot", "run", "busybox", "true", environment={"PATH": f"{tmp_path}"})
    assert ran.code == 125 and "install" in ran.complaint


def test_words_that_workflow_engines_write_are_accepted(box: Box, tmp_path: Path) -> None:
    words = ["-i", "--rm", "--log-driver=none", "--memory=100m", "--cpus=1", "--userns=keep-id"]
    words += ["--attach=STDIN", "--attach=STDOUT", "--sig-proxy=true", "--nobanner", "--quiet"]
    words += ["--init", "--privileged", "--cpu-shares", "5", "--shm-size=1g"]
    words += [f"--volume={tmp_path}:/jGeEGs", "--workdir=/jGeEGs", "--user=1001:1001"]
    assert box.run(*words, "busybox", "echo", "-n", "--rm").text == "--rm"


@pytest.mark.every_engine
def test_the_command_that_is_printed_does_the_same(box: Box, tmp_path: Path) -> None:
    words = ["-v", f"{tmp_path}:/a:b c", "-e", "A=it's", "-w", "/a:b c", "--read-only"]
    words += ["--timeout", "1e9"]  # which is more than poll(2) can wait
    script = 'echo "$A" "$@"; pwd; echo made > file; true > /etc/x; exit 7'
    command = [*words, "busybox", "sh", "-c", script, "sh", "x  y", "", "'"]
    shown = box.run("--print-command", *command)
    assert (shown.code, shown.err) == (0, b"")
    environment = {"PATH": os.environ["PATH"]}
    words = [*box.home.prefix, "sh", "-c", shown.text]
    done = subprocess.run(words, env=environment, capture_output=True)
    assert (done.returncode, done.stdout) == (7, b"it's x  y  '\n/a:b c\n")
    assert b"Read-only file system" in done.stderr or b"ermission denied" in done.stderr
    assert (tmp_path / "file").read_text() == "made\n"
