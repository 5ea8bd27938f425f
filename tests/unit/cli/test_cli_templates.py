"""The promise: a --format that works with Docker's CLI works here and prints the same."""

from __future__ import annotations

from typing import Any

import pytest

from cli.template import govalue
from cli.template.evaluate import Template
from cli.template.syntax import TemplateError

WEB: dict[str, Any] = {
    "ID": "abc",
    "Spec": {
        "Name": "web",
        "Labels": {"a.b": "1", "c": "2"},
        "Args": ["sh", "-c"],
        "Replicas": 3,
        "Ratio": 0.25,
        "TTY": False,
        "None": None,
    },
    "Ports": [{"P": 80, "T": 8080}, {"P": 81, "T": 8081}],
    "CreatedAt": "2026-11-24T03:55:20.350996675Z",
    "Empty": [],
}


@pytest.mark.parametrize(
    ("text", "out"),
    [
        ("plain", "plain"),
        ("{{.ID}}", "abc"),
        ("{{ .ID }}: {{.Spec.Name}}", "abc: web"),
        ("{{json .Spec.Args}}", '["sh","-c"]'),
        ("{{json .Spec.Name}}", '"web"'),
        ("{{.Spec.Labels}}", "map[a.b:1 c:2]"),
        ("{{.Spec.Args}}", "[sh -c]"),
        ("{{.Spec.Replicas}} {{.Spec.Ratio}} {{.Spec.TTY}}", "3 0.25 false"),
        ("{{.CreatedAt}}", "2026-11-24 03:55:20.350996675 +0000 UTC"),
        ('{{index .Spec.Labels "a.b"}}', "1"),
        ("{{index .Spec.Args 1}}", "-c"),
        ("{{(index .Ports 0).P}}", "80"),
        ("{{len .Ports}}", "2"),
        ("{{range .Ports}}{{.P}}->{{.T}} {{end}}", "80->8080 81->8081 "),
        ("{{range $i, $p := .Ports}}{{if $i}}, {{end}}{{$p.P}}{{end}}", "80, 81"),
        ("{{range $k, $v := .Spec.Labels}}{{$k}}={{$v}};{{end}}", "a.b=1;c=2;"),
        ("{{range .Empty}}x{{else}}none{{end}}", "none"),
        ("{{if .Spec.TTY}}yes{{else if .Ports}}ports{{else}}no{{end}}", "ports"),
        ("{{if and .ID (not .Spec.TTY)}}ok{{end}}", "ok"),
        ("{{with .Spec}}{{.Name}} of {{$.ID}}{{end}}", "web of abc"),
        ("{{$x := .Spec.Name}}{{$x}}-{{$x}}", "web-web"),
        ('{{.Spec.Name | upper | printf "%s!"}}', "WEB!"),
        ('{{join .Spec.Args " "}}', "sh -c"),
        ('{{range split "a,b" ","}}<{{.}}>{{end}}', "<a><b>"),
        ('{{printf "%-5s|%3d|%05d|%.2f|%q|%v" .ID 7 42 1.5 "x" true}}', 'abc  |  7|00042|1.50|"x"|true'),
        ('{{eq .ID "abc"}} {{ne 1 2}} {{lt 1 2}} {{or "" "b"}}', "true true true b"),
        ("a {{- /* gone */ -}} b", "ab"),
        ("a {{- .ID -}} b", "aabcb"),
        ('{{`raw`}}{{"q\\""}}{{\'a\'}}{{1.5}}{{true}}', 'rawq"971.5true'),
        ('{{pad .ID 1 2}}|{{truncate .ID 2}}|{{title "ab cd"}}', " abc  |ab|Ab Cd"),
        ('{{slice .ID 1 2}}{{html "<b>"}}', "b&lt;b&gt;"),
        ("{{println .ID 1}}", "abc 1\n"),
    ],
)
def test_templates_print_what_gos_print(text: str, out: str) -> None:
    assert Template(text).render(WEB) == out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{{.ID", "unclosed action"),
        ("{{.ID}", "bad character U\\+007D"),
        ("{{if .ID}}x", "unexpected EOF"),
        ("x{{end}}", "unexpected {{end}}"),
        ("{{nope .ID}}", 'function "nope" not defined'),
        ("{{.Nope}}", "can't evaluate field Nope"),
        ("{{.Spec.None.X}}", "nil pointer evaluating X"),
        ("{{.ID.X}}", "can't evaluate field X"),
        ("{{$x}}", "undefined variable"),
        ("{{index .Spec.Args 9}}", "error calling index"),
        ("{{}}", "missing value for command"),
        ("{{.ID | }}", "missing value for command"),
        ("{{(.ID}}", "unclosed left paren"),
        ("{{.ID ~}}", "unexpected '~'"),
        ('{{template "x"}}', "not supported"),
        ("{{range .ID}}{{end}}", "can't iterate"),
        ("{{.ID 1}}", "can't give argument to non-function"),
    ],
)
def test_what_is_wrong_with_a_template_is_said(text: str, said: str) -> None:
    with pytest.raises(TemplateError, match=said):
        Template(text).render(WEB)


def test_a_method_takes_its_argument() -> None:
    assert Template('{{.Label "a"}}').render({"Label": lambda key: key * 2}) == "aa"


def test_json_is_escaped_as_gos_is() -> None:
    assert govalue.as_json({"a": "<b> & é"}) == '{"a":"\\u003cb\\u003e \\u0026 é"}'


def test_nothing_is_printed_in_two_ways() -> None:
    assert (govalue.text(None), govalue.text({"a": None})) == ("<no value>", "map[a:<nil>]")
