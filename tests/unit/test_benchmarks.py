"""Benchmarks: what is shown is what was measured, all take turns, and the model counts right."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path

import pytest

from conformance.benchmarks import chart, page, ratios, tables
from conformance.benchmarks.cluster import BEFORE, EACH_NODE, LOCAL, NOBODY, Cluster, Costs, Site
from conformance.benchmarks.parts import chosen, numbers
from conformance.benchmarks.simulation import All, Process, Resource, Server, World
from conformance.benchmarks.tables import Part, Results, Row, Table
from conformance.benchmarks.turns import Failed, Taken, Way, take
from conformance.problem import Problem
from conformance.programs import require_programs, wish_for_programs

pytestmark = pytest.mark.once

START = ratios.RATIOS[0]
COSTS = Costs(
    pull=3.0, pull_processors=4.0, again=1.0, run=0.5, unpack=1.5, image=1e8, pack=1e8, files=1000,
    look=6, hold=4, run_shared=300, run_local=8, first_pause=0.02, longest_pause=0.5,
)  # fmt: skip
# A machine of its own: nothing but its processors takes time.
FREE = Site(1, cores=2, registry=1e15, client=1e15, calls=1e15, latency=1e-12, spread=0.1)


def results(own: float, *, others: float = 0.01) -> Results:
    """A start-up that takes so many times as long as bare Python."""
    rows = [
        Row(START.over, [1.0, 2.0, 1.0], [1.0, 1.0, 1.0]),
        Row(START.row, [own, 2 * own, own * 1.2], [own, own, own * 1.2], note="as ever"),
    ]
    table = Table(START.table, "A start", "s", rows, START.over, left_out={"gone": "no `such`"})
    curve = Table("grows", "It grows", "s", [Row("ours", [n], at=n) for n in (1.0, 10.0)], axis="n")
    part = Part([table, curve], "2026-01-02", 0.7, others, 5.0, False, "abc")
    machine = {"processor": "x", "memory": 1e9, "versions": {"proot": "5.1", "podman": ""}}
    return Results(machine, {START.part: part})


def test_page_plots_and_readme_are_what_the_stored_results_make() -> None:
    # If not: python -m conformance.benchmarks.page
    assert page.main(["--check"]) == 0


def test_the_page_names_machine_spread_what_is_missing_and_what_was_left_out() -> None:
    text = " ".join(page.page(results(3.0)).split())
    assert "Programs: proot 5.1. Not installed: podman." in text
    assert "3.00 (3.00 to 3.60)" in text and "as ever" in text
    assert "Left out, gone: ``no 'such'``." in text
    assert "**The machine was busy**" not in page.page(results(3.0))
    assert "**The machine was busy**" in page.page(results(3.0, others=1.0))


def test_the_readme_gets_medians_of_ratios_of_one_turn_between_its_marks() -> None:
    before = f"before\n{page._START}old\n{page._END}after\n"
    text = page.in_readme(before, results(3.0))
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert "* - Start of a container, over" in text and "- 3.00\n" in text
    busy = page.in_readme(before, results(3.0, others=1.0))
    assert "Not yet measured on a machine at rest." in busy and "3.00" not in busy


def test_a_ratio_is_found_again_only_within_fifteen_hundredths() -> None:
    old = results(3.0)
    for factor, good in ((1.0, True), (1.14, True), (0.86, True), (1.16, False), (0.84, False)):
        ((line, verdict),) = ratios.compared(old, results(3.0 * factor))
        assert verdict is good and ("NOT" in line) is not good
    ((line, verdict),) = ratios.compared(old, old._replace(parts={}))
    assert not verdict and line.endswith("cannot be measured here")


def test_the_last_word_counts_what_does_not_hold_and_names_other_work() -> None:
    old = results(3.0)

    def verdict(again: Results) -> list[str]:
        return list(ratios.verdict(list(ratios.compared(old, again)), again))

    assert verdict(results(3.1)) == ["all 1 ratios are within 15% of those in README.rst"]
    assert verdict(results(9.0)) == ["1 of 1 ratios are NOT within 15% of those in README.rst"]
    assert verdict(results(9.0, others=1.5))[1].startswith("1.5 processors were busy")


def test_a_ratio_without_its_peer_does_not_hold_and_says_why() -> None:
    old = results(3.0)
    part = old.parts[START.part]
    gone = {START.row: "podman is not installed"}
    table = part.tables[0]._replace(rows=part.tables[0].rows[:1], left_out=gone)
    again = old._replace(parts={START.part: part._replace(tables=[table])})
    ((line, verdict),) = ratios.compared(old, again)
    assert not verdict and line.endswith("cannot be measured here: podman is not installed")


def test_what_cannot_be_done_without_is_named_with_its_package(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")  # where there is no apt-get, either
    with pytest.raises(Problem, match="not found on PATH: no-such-program") as raised:
        require_programs("chroot", "no-such-program")
    assert raised.value.hint.endswith("apt-get install no-such-program")
    wish_for_programs("chroot", "no-such-peer")
    said = capsys.readouterr().err
    assert said.startswith("doing without: ") and said.endswith("apt-get install no-such-peer\n")


def test_results_are_the_same_when_they_are_read_back(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    tables.write(results(3.0), path)
    assert tables.read(path) == results(3.0)
    path.write_text('{"format": 0}')
    with pytest.raises(Problem, match="is not a result"):
        tables.read(path)


def test_plots_are_well_formed_and_have_every_row() -> None:
    for table in results(3.0).parts[START.part].tables:
        drawn = chart.draw(table._replace(title="a <b> & c"))
        texts = [one.text for one in ElementTree.fromstring(drawn).iter() if one.text]
        assert {row.name for row in table.rows} <= set(texts)


def going(name: str, went: list[str]) -> Way:
    """One that notes that it went."""

    def go() -> Taken:
        went.append(name)
        return Taken(1.0)

    return Way(name, go)


def test_all_take_turns_and_who_fails_is_left_out_with_his_words() -> None:
    went: list[str] = []

    def fail() -> Taken:
        went.append("c")
        raise Failed("no such thing")

    turns = take([going("a", went), going("b", went)._replace(turns=1), Way("c", fail)], 3)
    assert went == ["a", "b", "c", "a", "a"]
    assert {name: len(goes) for name, goes in turns.taken.items()} == {"a": 3, "b": 1}
    assert turns.left_out == {"c": "no such thing"}
    with pytest.raises(Failed):
        take([Way("c", fail, needed=True)], 1)


def test_the_first_changes_from_turn_to_turn() -> None:
    went: list[str] = []
    take([going(name, went) for name in "abc"], 3)
    assert "".join(went) == "abcbcacab"


def test_parts_and_numbers_are_read_as_people_write_them() -> None:
    assert chosen(["pull", "startup"]) == ["startup", "pull"]
    assert "sizes" in chosen(["growth"]) and "pull" not in chosen(["growth"])
    assert numbers("1,10k,1.5M,5G") == (1, 10_000, 1_500_000, 5_000_000_000)
    with pytest.raises(Problem, match="unknown part 'nonsense'"):
        chosen(["nonsense"])


def ends(*requests: Sequence[tuple[Server, float]], world: World) -> list[float]:
    """When each of these processes has had all that it asks for."""
    found = [0.0] * len(requests)

    def process(number: int) -> Process:
        yield from requests[number]
        found[number] = round(world.now, 6)

    for number in range(len(requests)):
        world.start(process(number))
    world.run(1000)
    return found


def test_a_resource_is_shared_evenly_and_nobody_gets_more_than_he_can_take() -> None:
    world = World()
    two = Resource(world, 2.0, 1.0)
    assert ends([(two, 3.0)], world=world) == [3.0]
    world = World()
    two = Resource(world, 2.0, 1.0)
    # Four share two: half of each second is had; the short ones end, and the long ones go faster.
    long, short = [(two, 3.0)], [(two, 1.0)]
    assert ends(long, long, short, short, world=world) == [4.0, 4.0, 2.0, 2.0]
    world = World()
    one = Resource(world, 1.0, 1.0)
    # The second comes a second later.
    assert ends([(one, 2.0)], [(world, 1.0), (one, 0.5)], world=world) == [2.5, 2.0]


def test_requests_at_once_are_had_with_the_last_of_them() -> None:
    world = World()
    one, other = Resource(world, 1.0, 1.0), Resource(world, 1.0, 1.0)
    assert ends([(All((one, 2.0), (other, 3.0)), 0.0), (one, 1.0)], world=world) == [4.0]


def test_the_model_gives_back_what_was_measured_of_one() -> None:
    alone = Cluster(FREE, COSTS, one=True).pulls(1, 1, 100)
    assert alone == pytest.approx(COSTS.pull, rel=0.01)


def test_pullers_of_one_store_wait_for_one_pull_and_others_share_the_processors() -> None:
    together = Cluster(FREE, COSTS, one=True).pulls(1, 4, 100)
    # Four that start are two seconds of two processors; then one pulls, and the others look on.
    assert together is not None and 4.0 <= together <= 4.0 + 3 * COSTS.longest_pause
    apart = Cluster(FREE, COSTS, one=True).pulls(4, 4, 100)
    assert apart == pytest.approx(4 * COSTS.pull_processors / 2, rel=0.05)


def test_ways_to_the_nodes_are_in_the_order_of_what_they_ask_for() -> None:
    site = Site(20, jobs_a_node=4, registry=1e8)
    seconds = {
        way: Cluster(site, COSTS).runs(way, 600) for way in (EACH_NODE, NOBODY, BEFORE, LOCAL)
    }
    assert all(seconds.values())
    # Twenty nodes ask for a second of the registry's each.
    assert (seconds[EACH_NODE] or 0) >= 20 > (seconds[NOBODY] or 0) > (seconds[BEFORE] or 0)
    assert Cluster(site, COSTS).runs(EACH_NODE, 10) is None
