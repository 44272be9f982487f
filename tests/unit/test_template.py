"""Templates after ``--format``, as Go's text/template and Docker have them."""

from __future__ import annotations

from typing import Any

import pytest

from cwl_userspace.cli.listing import filters, listing
from cwl_userspace.cli.template import Template, render
from cwl_userspace.errors import UsageError, UserspaceError

pytestmark = pytest.mark.once

ENTRY: dict[str, Any] = {
    "Id": "sha256:abcdef",
    "Size": 3,
    "Share": 2.5,
    "Up": True,
    "Config": {"Env": ["A=1", "B=2"], "Labels": {"x": "y"}, "Cmd": None},
    "Ports": {"80/tcp": [{"HostPort": "8080"}]},
    "Mounts": [{"Source": "/a", "RW": True}, {"Source": "/b", "RW": False}],
}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        # What workflow engines, their examples and Docker's manual write.
        ("{{.Id}}", "sha256:abcdef"),
        ("{{ .Id }} of {{.Size}}", "sha256:abcdef of 3"),
        ("{{json .Config}}", '{"Env":["A=1","B=2"],"Labels":{"x":"y"},"Cmd":null}'),
        ("{{.Config.Labels | json}}", '{"x":"y"}'),
        ("{{range .Config.Env}}{{println .}}{{end}}", "A=1\nB=2\n"),
        ('{{(index (index .Ports "80/tcp") 0).HostPort}}', "8080"),
        ("{{range $p, $c := .Ports}}{{$p}} is {{(index $c 0).HostPort}}{{end}}", "80/tcp is 8080"),
        ('{{index .Config.Labels "x"}}{{index .Config.Labels "none"}}', "y"),
        ("{{.Config.Labels.none}}", "<no value>"),
        ('{{join .Config.Env ", "}}', "A=1, B=2"),
        ("{{.Id}}\\t{{.Size}}\\n", "sha256:abcdef\t3\n"),
        # Conditions and blocks.
        ("{{if .Config.Cmd}}yes{{else}}no{{end}}", "no"),
        ("{{if .Config.Cmd}}a{{else if .Up}}b{{else}}c{{end}}", "b"),
        ("{{with .Config.Cmd}}a{{else with .Size}}{{.}}{{end}}", "3"),
        ("{{with $l := .Config.Labels}}{{$l.x}}{{.x}}{{end}}", "yy"),
        ("{{range .Config.Cmd}}a{{else}}none{{end}}", "none"),
        ("{{range $i, $m := .Mounts}}{{if $i}},{{end}}{{.Source}}{{$.Size}}{{end}}", "/a3,/b3"),
        ("{{range $m := .Mounts}}{{if not $m.RW}}{{$m.Source}}{{end}}{{end}}", "/b"),
        ("{{$n := len .Mounts}}{{$n}}", "2"),
        ("{{if and .Up (eq .Size 3)}}{{or .Config.Cmd .Size}}{{end}}", "3"),
        ("{{if or .Up (index .Mounts 9)}}the rest is not looked at{{end}}", None),
        ("{{eq .Size 1 3}} {{ne .Size 3}} {{lt .Size 4}} {{ge .Size 4}}", "true false true false"),
        ("{{le .Size 3}} {{ge .Size 3}} {{lt .Size 3}} {{gt .Size 3}}", "true true false false"),
        # Functions.
        ("{{upper .Id | lower}} {{title `abc def`}}", "sha256:abcdef Abc Def"),
        (
            '{{printf "%-8s|%05d|%.1f|%q|%v" `a` .Size .Share `b` .Up}}',
            'a       |00003|2.5|"b"|true',
        ),
        ("{{slice .Id 7 10}} {{truncate .Id 6}}{{pad `x` 1 2}}.", "abc sha256 x  ."),
        ("{{index (split .Id `:`) 1}}", "abcdef"),
        ("{{print 1 2 `a` 3}}", "1 2a3"),
        # How Go shows values, and what is no part of the text.
        ("{{.Config.Env}} {{.Config.Labels}} {{.Share}}", "[A=1 B=2] map[x:y] 2.5"),
        ("a {{- /* nothing */ -}} b {{- .Size }} c", "ab3 c"),
        ('{{"a}}b"}}', "a}}b"),
        ("no action }}", "no action }}"),
        ("", ""),
    ],
)
def test_a_template_gives_what_docker_gives(template: str, text: str | None) -> None:
    wanted = "the rest is not looked at" if text is None else text
    assert render(template, ENTRY) == wanted


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{.Nothing}}", "no field '.Nothing' here; fields: Id, Size"),
        ("{{.Id.Nothing}}", "no field '.Nothing' here; it has no fields"),
        ("{{range .Id}}{{end}}", "range cannot go over"),
        ("{{.Id", "not closed"),
        ('{{printf "a}}', "not closed"),
        ("{{if .Id}}", "'if' has no end"),
        ("{{if .Id}}{{else}}{{else}}{{end}}", "has no end"),
        ("{{end}}", "'end' without a beginning"),
        ("{{foo .Id}}", "no function 'foo'"),
        ("{{.Id .Size}}", "'.Size' is not expected"),
        ("{{.Id | .Size}}", "is no function"),
        ("{{$x}}", "no variable $x"),
        ("{{(.Id}}", "bracket is not closed"),
        ("{{}}", "a value is missing"),
        ("{{index .Mounts 7}}", "'index' cannot be done"),
        ("{{index .Mounts -1}}", "'index' cannot be done"),
        ('{{printf "%d" .Id}}', "'printf' cannot be done"),
        ("{{.Id ? }}", "has no meaning"),
    ],
)
def test_a_template_that_is_none_is_refused_in_a_sentence(template: str, said: str) -> None:
    with pytest.raises(UserspaceError, match=r".") as caught:
        render(template, ENTRY)
    assert said in str(caught.value) and caught.value.hint


def test_a_list_is_a_table_json_lines_or_a_line_for_each_row() -> None:
    titles = {"ID": "CONTAINER ID", "Names": "NAMES"}
    rows = [{"ID": "1", "Names": "one", "RunningFor": "9 days"},
            {"ID": "22", "Names": "two,more", "RunningFor": ""}]  # fmt: skip
    usual = "CONTAINER ID   NAMES\n1              one\n22             two,more\n"
    assert listing("", titles, rows) == listing("table", titles, rows) == usual
    assert listing("json", titles, rows[1:]) == '{"ID":"22","Names":"two,more","RunningFor":""}\n'
    assert listing("{{.ID}}={{.Names}}", titles, rows) == "1=one\n22=two,more\n"
    form = "table {{.ID}}\\t{{upper .Names}}\\t{{.RunningFor}}"
    assert listing(form, titles, rows) == (
        "CONTAINER ID   NAMES      RUNNING FOR\n"
        "1              ONE        9 days\n"
        "22             TWO,MORE\n"
    )
    assert listing(form, titles, [], {"RunningFor": "CREATED"}).endswith("NAMES   CREATED\n")
    with pytest.raises(UserspaceError, match="not closed"):
        listing("{{.ID", titles, [])


def test_the_titles_of_a_table_pass_through_functions() -> None:
    template = Template('{{json .ID}} {{join .Names ","}} {{.CreatedSince | truncate 3}}')
    assert template.titles({"ID": "IMAGE ID"}) == "IMAGE ID NAMES CREATED SINCE"


def test_only_known_filters_are_taken() -> None:
    assert filters(["name=a", "name=b=c"], ("name", "id")) == {"name": ["a", "b=c"]}
    for wrong in ("size=1", "name"):
        with pytest.raises(UsageError, match="is not known; expected name=VALUE, id=VALUE"):
            filters([wrong], ("name", "id"))
