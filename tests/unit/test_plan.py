"""What a request, an image, its accounts and a host make: Docker's rules, as values."""

from __future__ import annotations

import pytest

from cwl_userspace.accounts import Accounts, caller, identify, with_identity
from cwl_userspace.errors import UsageError
from cwl_userspace.plan import DEFAULT_PATH, Host, plan
from cwl_userspace.spec import ContainerSpec, Device, Identity, ImageConfig, Mount, RunRequest

pytestmark = pytest.mark.once

PASSWD = (
    "root:x:0:0:root:/root:/bin/bash\n"
    "tool:x:1234:55:A Tool:/home/tool:/bin/sh\n"
    "77:x:88:99:named by digits:/seven:/bin/sh\n"
    "nowhere:x:500:500:::/bin/sh\n"
    "broken:x:1:2\n"
    "nobody:x:none:none:x:/:/bin/sh\n"
    "half:x:600:none:x:/half:/bin/sh"
)
GROUP = "root:x:0:\nstaff:x:50:tool\n60:x:61:\nshort:x:71\nbad:x:number:"
KNOWN = Accounts(PASSWD, GROUP)
NONE = Accounts("", "")
HOST = Host(
    1000, 1001, "me", "box", "nameserver 10.0.0.1\n", "10.0.0.2\tnear  far # by\n", "hosts: files\n"
)
ADDED = [("db", "10.1.1.1"), ("web", "10.1.1.2")]
ALONE = Host(1000, 1001, "me", "box", None, None, None)


def planned(
    request: RunRequest | None = None,
    config: ImageConfig | None = None,
    accounts: Accounts = KNOWN,
    host: Host = HOST,
    own_tree: bool = False,
) -> ContainerSpec:
    asked = request or RunRequest(["true"])
    return plan(asked, config or ImageConfig(), "/store/tree", accounts, host, own_tree)


def facts(identity: Identity) -> tuple[int, int, str, str, bool]:
    return identity.uid, identity.gid, identity.name, identity.home, identity.emulate_root


# Who.


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("tool", (1234, 55, "tool", "/home/tool", False)),
        ("1234", (1234, 55, "tool", "/home/tool", False)),
        ("77", (88, 99, "77", "/seven", False)),
        ("88", (88, 99, "77", "/seven", False)),
        ("4321", (4321, 0, "", "/", False)),
        ("nowhere", (500, 500, "nowhere", "/", False)),
        ("1", (1, 0, "", "/", False)),
        ("600", (600, 0, "", "/", False)),
        ("root", (0, 0, "root", "/root", True)),
        ("0", (0, 0, "root", "/root", True)),
        (":staff", (0, 50, "root", "/root", True)),
        ("tool:", (1234, 55, "tool", "/home/tool", False)),
        ("tool:staff", (1234, 50, "tool", "/home/tool", False)),
        ("tool:7", (1234, 7, "tool", "/home/tool", False)),
        ("tool:short", (1234, 71, "tool", "/home/tool", False)),
        ("tool:60", (1234, 61, "tool", "/home/tool", False)),
        ("4321:staff", (4321, 50, "", "/", False)),
        ("0:7", (0, 7, "root", "/root", True)),
    ],
)
def test_a_user_is_who_docker_says(user: str, expected: tuple[object, ...]) -> None:
    assert facts(identify(user, KNOWN)) == expected


@pytest.mark.parametrize(
    ("user", "said"),
    [("nosuch", "'nosuch'"), ("half", "'half'"), ("broken", "'broken'"), ("nobody", "'nobody'"),
     ("tool:nogroup", "'nogroup'"), ("tool:bad", "'bad'"), ("-1", "'-1'")],
)  # fmt: skip
def test_a_name_that_the_image_does_not_have_is_refused(user: str, said: str) -> None:
    with pytest.raises(UsageError, match=f"no (user|group) {said} in the image") as refused:
        identify(user, KNOWN)
    assert "-u" in refused.value.hint


@pytest.mark.parametrize(
    "number", ["\N{SUPERSCRIPT TWO}", "\N{ARABIC-INDIC DIGIT THREE}", "9" * 5000]
)
def test_what_only_looks_like_a_number_is_none(number: str) -> None:
    odd = Accounts(f"odd:x:{number}:{number}:::\n", f"odd:x:{number}:\n")
    assert facts(identify("5:6", odd)) == (5, 6, "", "/", False)
    for user in (number, f"5:{number}", "odd"):
        with pytest.raises(UsageError):
            identify(user, odd)


def test_an_image_without_accounts_has_root_all_the_same() -> None:
    assert facts(identify("root", NONE)) == (0, 0, "root", "/root", True)
    assert facts(identify("5:root", NONE)) == (5, 0, "", "/", False)
    assert facts(identify(":7", NONE)) == (0, 7, "root", "/root", True)
    with pytest.raises(UsageError):
        identify("tool", NONE)


def test_who_is_not_named_has_the_account_of_number_0_whatever_its_name() -> None:
    renamed = Accounts("toor:x:0:5::/toor:/bin/sh\n", "")
    assert facts(identify(":", renamed)) == (0, 5, "toor", "/toor", True)


def test_a_caller_stays_who_he_is_and_gets_the_images_name_for_the_number() -> None:
    assert facts(caller(1234, 9, "me", KNOWN)) == (1234, 9, "tool", "/home/tool", False)
    assert facts(caller(500, 9, "me", KNOWN)) == (500, 9, "nowhere", "/", False)
    assert facts(caller(4321, 9, "me", KNOWN)) == (4321, 9, "me", "/", False)
    assert facts(caller(4321, 9, "tool", KNOWN)) == (4321, 9, "", "/", False)
    # Root who calls is no root that was asked for.
    assert facts(caller(0, 0, "root", KNOWN)) == (0, 0, "root", "/root", False)


def test_a_stranger_gets_a_line_in_each_table() -> None:
    wanted = with_identity(KNOWN, Identity(4321, 77, "me", "", False))
    assert wanted.passwd == PASSWD + "\nme:x:4321:77:me:/:/bin/sh\n"
    assert wanted.group == GROUP + "\nme:x:77:\n"
    unnamed = with_identity(KNOWN, Identity(4321, 77, "", "/home", False))
    assert unnamed.passwd.endswith("\nuser4321:x:4321:77:user4321:/home:/bin/sh\n")
    assert unnamed.group.endswith("\nuser4321:x:77:\n")


def test_a_name_of_a_group_is_given_once() -> None:
    wanted = with_identity(KNOWN, Identity(4321, 77, "staff", "/", False))
    assert wanted.group == GROUP + "\ngroup77:x:77:\n"
    wanted = with_identity(KNOWN, Identity(4321, 77, "short", "/", False))
    assert wanted.group == GROUP + "\ngroup77:x:77:\n"
    assert with_identity(KNOWN, Identity(4321, 71, "me", "/", False)).group == GROUP


def test_who_is_known_gets_no_line() -> None:
    same = with_identity(KNOWN, Identity(1234, 50, "tool", "/", False))
    assert (same.passwd, same.group) == (PASSWD, GROUP)


def test_tables_that_are_not_there_begin_with_root() -> None:
    wanted = with_identity(NONE, Identity(5, 6, "me", "/", False))
    assert wanted.passwd == "root:x:0:0:root:/root:/bin/sh\nme:x:5:6:me:/:/bin/sh\n"
    assert wanted.group == "root:x:0:\nme:x:6:\n"


# What.


@pytest.mark.parametrize(
    ("entrypoint", "argv", "expected"),
    [
        (None, [], ("entry", "-x", "cmd")),
        (None, ["a", "b"], ("entry", "-x", "a", "b")),
        (["other"], [], ("other",)),
        (["other"], ["a"], ("other", "a")),
        ([], ["a"], ("a",)),
    ],
)
def test_a_command_is_the_entrypoint_and_what_was_given_or_cmd(
    entrypoint: list[str] | None, argv: list[str], expected: tuple[str, ...]
) -> None:
    config = ImageConfig(entrypoint=["entry", "-x"], cmd=["cmd"])
    assert planned(RunRequest(argv, entrypoint=entrypoint), config).argv == expected


@pytest.mark.parametrize(
    "request_", [RunRequest([]), RunRequest([""]), RunRequest([], entrypoint=[])]
)
def test_no_command_at_all_is_refused(request_: RunRequest) -> None:
    with pytest.raises(UsageError, match="no command to run"):
        planned(request_)


def test_variables_are_the_images_then_those_asked_for() -> None:
    config = ImageConfig(env=["A=1", "B=2=3", "PATH=/own", "NOTHING", "=x", "EMPTY="])
    request = RunRequest(["true"], environment=[("A", "9"), ("HOME", "/there")])
    assert planned(request, config).environment == {
        "PATH": "/own", "HOSTNAME": "box", "HOME": "/there", "A": "9", "B": "2=3", "EMPTY": "",
    }  # fmt: skip


def test_what_nobody_sets_has_dockers_defaults() -> None:
    spec = planned(RunRequest(["true"], user="tool", hostname="other", tty=True))
    assert spec.environment == {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOSTNAME": "other", "HOME": "/home/tool", "TERM": "xterm",
    }  # fmt: skip
    assert spec.environment["PATH"] == DEFAULT_PATH and spec.hostname == "other" and spec.tty


def test_a_user_is_the_one_asked_for_or_the_images_or_the_caller() -> None:
    config = ImageConfig(user="77")
    assert planned(RunRequest(["true"], user="tool"), config).identity.uid == 1234
    assert planned(config=config).identity.uid == 88
    assert facts(planned().identity) == (1000, 1001, "me", "/", False)


@pytest.mark.parametrize(
    ("asked", "said", "expected"),
    [("", "", "/"), ("", "data", "/data"), ("/a/../b/", "/data", "/b"), ("x", "/data", "/x")],
)
def test_a_working_directory_is_absolute(asked: str, said: str, expected: str) -> None:
    spec = planned(RunRequest(["true"], working_dir=asked), ImageConfig(working_dir=said))
    assert spec.working_dir == expected


def test_all_else_is_as_it_was_asked_for() -> None:
    request = RunRequest(
        ["true"], network_off=True, read_only=True, shm_size=5, root_size=6,
        devices=[Device("/dev/null", "/dev/nothing")],
    )  # fmt: skip
    spec = planned(request, own_tree=True)
    assert (spec.rootfs, spec.own_tree) == ("/store/tree", True)
    assert (spec.network_off, spec.read_only, spec.shm_size, spec.root_size) == (True, True, 5, 6)
    assert spec.limits == request.limits and not spec.tty
    assert [(d.source, d.target) for d in spec.devices] == [("/dev/null", "/dev/nothing")]
    assert not planned().own_tree


def test_mounts_come_parents_first_and_the_last_of_equal_ones_counts() -> None:
    mounts = [
        Mount("/1", "/a/b/c", True), Mount("/2", "/a/", False), Mount("/3", "x/../a//b", True),
        Mount("/4", "//a", True), Mount("/5", "/z", False),
    ]  # fmt: skip
    found = planned(RunRequest(["true"], mounts=mounts)).mounts
    assert [(m.source, m.target, m.read_only) for m in found] == [
        ("/4", "/a", True), ("/5", "/z", False), ("/3", "/a/b", True), ("/1", "/a/b/c", True),
    ]  # fmt: skip


@pytest.mark.parametrize("target", ["/", "/proc", "/proc/1", "a/..", "//proc/", ""])
def test_some_places_are_nobodys_to_mount_at(target: str) -> None:
    with pytest.raises(UsageError, match="cannot mount '/x' at"):
        planned(RunRequest(["true"], mounts=[Mount("/x", target, False)]))


# Files in place of the tree's own.


def files(request: RunRequest | None = None, **given: object) -> dict[str, str]:
    found = planned(request, **given).files  # type: ignore[arg-type]
    assert len(dict(found)) == len(found)
    return dict(found)


def test_a_container_has_the_hosts_network_and_names() -> None:
    found = files()
    assert found["/etc/resolv.conf"] == "nameserver 10.0.0.1\n"
    assert found["/etc/nsswitch.conf"] == "hosts: files\n"
    assert found["/etc/hosts"] == (
        "10.0.0.2\tnear  far # by\n127.0.0.1\tlocalhost\n"
        "::1\tlocalhost ip6-localhost ip6-loopback\n127.0.0.1\tbox\n"
    )


def test_without_a_network_only_this_host_is_known() -> None:
    found = files(RunRequest(["true"], network_off=True, add_hosts=ADDED))
    assert "/etc/resolv.conf" not in found and "/etc/nsswitch.conf" not in found
    assert found["/etc/hosts"] == (
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
        "127.0.0.1\tbox\n10.1.1.1\tdb\n10.1.1.2\tweb\n"
    )


def test_a_host_without_tables_gives_none() -> None:
    found = files(host=ALONE)
    assert set(found) == {"/etc/passwd", "/etc/group", "/etc/hosts"}
    assert found["/etc/hosts"].startswith("127.0.0.1\tlocalhost\n")


def test_what_the_hosts_table_knows_is_not_added() -> None:
    host = Host(1000, 1001, "me", "box", None, "127.0.0.1 localhost box # comment", None)
    assert files(host=host)["/etc/hosts"] == "127.0.0.1 localhost box # comment\n"
    host = Host(1000, 1001, "me", "box", None, "127.0.0.1 localhost\n\n::1 box X\t\n\n", None)
    assert files(host=host)["/etc/hosts"] == "127.0.0.1 localhost\n\n::1 box X\t\n"
    host = Host(1000, 1001, "me", "comment", None, "127.0.0.1 localhost # comment", None)
    assert files(host=host)["/etc/hosts"].endswith("\n127.0.0.1\tcomment\n")


def test_accounts_are_only_in_place_of_others_where_a_line_is_added() -> None:
    assert {"/etc/passwd", "/etc/group"} <= set(files())
    assert "/etc/passwd" not in files(RunRequest(["true"], user="tool"))
    assert "/etc/group" in files(RunRequest(["true"], user="tool"))
    assert not {"/etc/passwd", "/etc/group"} & set(files(RunRequest(["true"], user="tool:staff")))


def test_a_tree_of_its_own_keeps_what_packages_replace() -> None:
    found = files(own_tree=True)
    assert "/etc/nsswitch.conf" not in found and "/etc/resolv.conf" in found


def test_apt_is_told_only_where_root_is_emulated_and_apt_is_there() -> None:
    place = "/etc/apt/apt.conf.d/99cwl-userspace"
    with_apt = Accounts(PASSWD, GROUP, has_apt=True)
    root = RunRequest(["true"], user="root")
    assert files(root, accounts=with_apt)[place] == 'APT::Sandbox::User "root";\n'
    assert place not in files(root) and place not in files(accounts=with_apt)


@pytest.mark.parametrize("target", ["/etc/hosts", "/etc", "/etc/", "/etc/./hosts"])
def test_what_is_mounted_is_not_covered(target: str) -> None:
    assert "/etc/hosts" not in files(RunRequest(["true"], mounts=[Mount("/x", target, True)]))
    assert "/etc/hosts" in files(RunRequest(["true"], mounts=[Mount("/x", "/etc/ho", True)]))


def test_nothing_is_written_to_what_is_mounted_above_a_file_of_ours() -> None:
    root = RunRequest(["true"], user="root", mounts=[Mount("/x", "/etc/apt")])
    found = files(root, accounts=Accounts(PASSWD, GROUP, has_apt=True))
    assert "/etc/hosts" in found and not any(path.startswith("/etc/apt") for path in found)
