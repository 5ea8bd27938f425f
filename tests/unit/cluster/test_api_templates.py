"""Templates expand as in Swarm; what is not understood is refused, never passed through."""

import pytest

from cluster.api.templates import Context, TemplateError, expand

CONTEXT = Context(
    facts={
        "Service": {"ID": "s1", "Name": "web", "Labels": {"com.example/tier": "front", "a": "b"}},
        "Node": {"ID": "n1", "Hostname": "h1", "Platform": {"OS": "linux", "Architecture": "x86_64"}},
        "Task": {"ID": "t1", "Name": "web.2.t1", "Slot": "2"},
    },
    functions={"env": {"HOME": "/root"}.get, "secret": {"db": "hush"}.__getitem__},
)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("plain", "plain"),
        ("{{.Service.Name}}-{{.Task.Slot}}", "web-2"),
        ("{{ .Node.Hostname }}/{{.Node.Platform.OS}}", "h1/linux"),
        ("{{- .Task.ID -}}", "t1"),
        ("a  {{- .Task.ID }}", "at1"),
        ('{{index .Service.Labels "com.example/tier"}}', "front"),
        ('{{index .Service.Labels "none"}}', ""),
        ("{{.Service.Labels}}", "map[a:b com.example/tier:front]"),
        ('{{env "HOME"}}', "/root"),
        ("{{secret `db`}}", "hush"),
        ('{{join "-" .Service.Name (env "HOME")}}', "web-/root"),
        ('{{"db" | secret}}', "hush"),
        ('{{if eq .Task.Slot "2"}}second{{else}}other{{end}}', "second"),
        ('{{if eq .Task.Slot "1"}}first{{else if eq .Task.Slot "2"}}second{{else}}other{{end}}', "second"),
        ('{{if .Service.Name}}{{if eq .Task.Slot "9"}}x{{end}}y{{end}}', "y"),
        ("{{/* a remark */}}x", "x"),
        ('{{"a\\n\\"b\\""}}', 'a\n"b"'),
        ("{{ `{{` }}", "{{"),
    ],
)
def test_a_template_expands(template: str, text: str) -> None:
    assert expand(template, CONTEXT, where="x") == text


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{{.Service.Nmae}}", "can't evaluate field Nmae in .Service.Nmae"),
        ('{{nosuch "x"}}', "function 'nosuch' not defined"),
        ("{{.Task.ID", "unclosed action"),
        ("{{if .Task.ID}}x", "an if without its end"),
        ("{{end}}", "an end without its if"),
        ("{{}}", "missing value for command"),
        ("{{(.Task.ID}}", "unclosed left paren"),
        ('{{secret "nope"}}', "error calling secret"),
        ("{{.Task.ID %}}", "unexpected '%'"),
    ],
)
def test_what_cannot_be_expanded_is_refused_with_its_place(template: str, problem: str) -> None:
    with pytest.raises(TemplateError) as refused:
        expand(template, CONTEXT, where="env A")
    assert refused.value.where == "env A"
    assert problem in refused.value.problem


@pytest.mark.parametrize("text", ["{{" + "/**/" * 60, "{{" * 100_000, "{{" + "(" * 50_000 + "1" + "}}", '{{"' * 100_000])
def test_a_hostile_template_costs_no_time(text: str) -> None:
    """Managers expand them on their loop."""
    with pytest.raises(TemplateError):
        expand(text, CONTEXT, where="env A")
