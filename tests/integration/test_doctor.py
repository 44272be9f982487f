"""doctor tells the truth where proot, user namespaces or a writable store are missing."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.containers import ENGINES, Home


def report(home: Home, *words: str, **environment: str) -> dict[str, Any]:
    ran = home.call(*words, "doctor", "--json", "--offline", "--quick", environment=environment)
    assert ran.err == b"", ran
    found: dict[str, Any] = json.loads(ran.out)
    return found


def engines(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {engine["name"]: engine for engine in found["engines"]}


def in_namespace(home: Home, script: str) -> subprocess.CompletedProcess[bytes]:
    """Run a script in user and mount namespaces of its own, our command being ``$0``."""
    return subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script]
        + [home.command()[0].decode()],
        env=home.environment,
        capture_output=True,
        timeout=60,
    )


def test_the_engines_work_here_and_the_first_is_chosen(home: Home) -> None:
    found = report(home)
    assert found["engine"] == "userns"
    assert {*ENGINES} <= {engine["name"] for engine in found["engines"] if engine["works"]}
    assert all(engine["works"] or engine["reason"] for engine in found["engines"])
    assert set(engines(found)["userns"]["promises"].values()) == {""}
    assert engines(found)["proot"]["promises"]["private pids"] != ""


def test_a_missing_proot_is_said_with_a_way_to_get_one(home: Home, tmp_path: Path) -> None:
    proot = engines(report(home, PATH=str(tmp_path)))["proot"]
    assert not proot["works"]
    assert "there is no proot" in proot["reason"] and "PATH" in proot["reason"]
    ran = home.call("--engine", "proot", "run", "busybox", "true", environment={"PATH": "/none"})
    assert ran.code == 125 and "proot" in ran.complaint


def test_a_configured_proot_that_is_none_is_said(home: Home) -> None:
    proot = engines(report(home, CWL_USERSPACE_PROOT="/bin/false"))["proot"]
    assert not proot["works"] and "/bin/false" in proot["reason"]


def test_forbidden_user_namespaces_are_said_and_proot_runs_instead(home: Home) -> None:
    """The switch counts for one name space and those below it, so the host is left alone."""
    forbid = "echo 0 > /proc/sys/user/max_user_namespaces; "
    done = in_namespace(home, forbid + '"$0" doctor --json --offline --quick')
    found = json.loads(done.stdout)
    assert not engines(found)["userns"]["works"]
    assert "max_user_namespaces" in engines(found)["userns"]["reason"]
    assert found["engine"] == "proot"
    ran = in_namespace(home, forbid + '"$0" run busybox grep TracerPid /proc/self/status')
    assert ran.returncode == 0 and ran.stdout.split()[1] != b"0", ran
    refused = in_namespace(home, forbid + '"$0" --engine userns run busybox true')
    assert refused.returncode == 125 and refused.stderr.count(b"\n") == 1


def test_a_masked_proc_is_said_and_containers_run_in_spite_of_it(home: Home) -> None:
    """As in other containers, where a part of /proc is covered and no fresh one is allowed."""
    mask = "mount -t tmpfs none /proc/sys/kernel && exec unshare --user --map-root-user "
    done = in_namespace(home, mask + '"$0" doctor --json --offline --quick')
    found = engines(json.loads(done.stdout))["userns"]
    assert found["works"] and "/proc" in found["promises"]["private pids"]
    ran = in_namespace(home, mask + '"$0" --engine userns run busybox cat /proc/self/comm')
    assert (ran.returncode, ran.stdout) == (0, b"cat\n"), ran


def test_a_read_only_store_is_said_and_images_in_it_run(home: Home) -> None:
    store = home.environment["CWL_USERSPACE_HOME"]
    protect = f"mount --bind {store} {store} && mount -o remount,bind,ro {store} && "
    done = in_namespace(home, protect + '"$0" doctor --json --offline --quick')
    assert json.loads(done.stdout)["store"]["writable"] is False
    for engine in ("userns", "proot"):
        ran = in_namespace(home, protect + f'"$0" --engine {engine} run busybox echo read')
        assert (ran.returncode, ran.stdout) == (0, b"read\n"), ran
    pulled = in_namespace(home, protect + '"$0" import /dev/null x')
    assert pulled.returncode == 125 and b"CWL_USERSPACE_HOME" in pulled.stderr


def test_the_report_reads_well_as_text(home: Home) -> None:
    text = home.call("doctor", "--offline", "--quick").text
    assert "userns: works (chosen)" in text and "store" in text and "landlock" in text


def test_an_engine_that_fails_in_spite_of_its_probe_is_probed_again(home: Home) -> None:
    """What was found may have changed: here the remembered answer is made to be wrong."""
    report(home)
    (kept,) = (home.place / "cache" / "cwl-userspace").glob("probe-proot-*.json")
    answer = json.loads(kept.read_text())
    assert answer["answer"]["kill_on_exit"] is False, "this proot has the option"
    answer["answer"]["kill_on_exit"] = True
    kept.write_text(json.dumps(answer))
    failed = home.call("--engine", "proot", "run", "busybox", "true")
    assert failed.code == 125 and b"it ended by itself with status 1" in failed.err
    assert home.call("--engine", "proot", "run", "busybox", "true").code == 0
