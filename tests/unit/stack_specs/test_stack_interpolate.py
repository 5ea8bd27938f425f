"""Variables are put in as docker puts them in, oddities included."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack_specs.errors import Fault
from stack_specs.interpolate import interpolate
from stack_specs.values import Value

ENV = {"HOST": "example.com", "EMPTY": "", "N": "7", "_x1": "under"}


def filled(template: str) -> Value:
    return interpolate({"key": template}, ENV, [])["key"]


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("plain", "plain"),
        ("$HOST", "example.com"),
        ("${HOST}:80", "example.com:80"),
        ("$_x1!", "under!"),
        ("$UNSET", ""),
        ("${UNSET}", ""),
        ("$$HOST", "$HOST"),
        ("$$$HOST", "$example.com"),
        ("a$$", "a$"),
        ("${UNSET:-fallback}", "fallback"),
        ("${EMPTY:-fallback}", "fallback"),
        ("${UNSET-fallback}", "fallback"),
        ("${EMPTY-fallback}", ""),
        ("${UNSET:-}x", "x"),
        ("${HOST:-fallback}", "example.com"),
        ("${HOST:?complaint}", "example.com"),
        ("${EMPTY?complaint}", ""),
        ("${UNSET:-a:b/c d}", "a:b/c d"),
        ("${UNSET-${HOST}}", "${HOST}"),
        ("$UNSET-default of all", "default of all"),
        ("$HOST-db", "example.com"),
        ("${UNSET:?need-it}", "it"),
        ("${UNSET?x:-y}", "y"),
        ("${HOST}}", "example.com}"),
    ],
)
def test_a_reference_stands_for(template: str, text: str) -> None:
    assert filled(template) == text


@pytest.mark.parametrize("template", ["$1", "a$", "${}", "${1}", "${A b}", "${A:}", "${HOST", "${UNSET:+alternative}", "$ "])
def test_what_is_no_reference_is_refused(template: str) -> None:
    with pytest.raises(Fault, match=r"key: invalid interpolation format.*write \$\$ for a dollar sign") as caught:
        filled(template)
    assert caught.value.path == ("key",)


@pytest.mark.parametrize("template", ["${UNSET?set it}", "${UNSET:?set it}", "${EMPTY:?set it}", "${HOST}-${UNSET?set it}"])
def test_a_required_variable_complains(template: str) -> None:
    with pytest.raises(Fault, match=r"required variable (UNSET|EMPTY) is missing a value: set it; set the variable"):
        filled(template)


def test_a_complaint_that_docker_forgets_becomes_a_warning() -> None:
    warnings: list[str] = []
    assert interpolate({"key": "${UNSET?set it}:$HOST"}, ENV, warnings) == {"key": ":example.com"}
    assert warnings == ["key: required variable UNSET is missing a value: set it"]


def test_keys_are_left_alone_and_values_at_any_depth_are_not() -> None:
    before: dict[str, Value] = {"$HOST": [{"a": "$N"}, 5, None]}
    assert interpolate(before, ENV, []) == {"$HOST": [{"a": "7"}, 5, None]}


@pytest.mark.parametrize(
    ("path", "text", "value"),
    [
        ("deploy.replicas", "3", 3),
        ("deploy.replicas", "+3", 3),
        ("healthcheck.retries", "5", 5),
        ("healthcheck.disable", "Yes", True),
        ("read_only", "off", False),
        ("tty", "y", True),
        ("deploy.update_config.max_failure_ratio", ".25", 0.25),
        ("ulimits.nofile", "1024", 1024),
        ("oom_score_adj", "-5", -5),
        ("hostname", "3", "3"),
        ("init", "true", "true"),
    ],
)
def test_a_changed_value_takes_the_type_that_its_key_wants(path: str, text: str, value: Value) -> None:
    tree: Value = "${X}"
    for key in reversed(["services", "web", *path.split(".")]):
        tree = {key: tree}
    assert isinstance(tree, dict)
    result: Value = interpolate(tree, {"X": text}, [])
    for key in ["services", "web", *path.split(".")]:
        assert isinstance(result, dict)
        result = result[key]
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize("text", ["4.0", " 3", "", "x"])
def test_a_value_that_cannot_be_a_number_is_refused(text: str) -> None:
    with pytest.raises(Fault, match=r"services\.web\.deploy\.replicas: after its variables were put in"):
        interpolate({"services": {"web": {"deploy": {"replicas": "${X}"}}}}, {"X": text}, [])


def test_a_literal_is_not_converted() -> None:
    assert interpolate({"services": {"web": {"tty": "yes"}}}, {}, []) == {"services": {"web": {"tty": "yes"}}}


def test_a_service_with_a_dot_in_its_name_gets_no_conversions() -> None:
    content: dict[str, Value] = {"services": {"a.b": {"deploy": {"replicas": "${X}"}}}}
    assert interpolate(content, {"X": "3"}, []) == {"services": {"a.b": {"deploy": {"replicas": "3"}}}}


@given(st.text(alphabet="ab$", max_size=12))
def test_doubled_dollars_always_give_the_text_back(text: str) -> None:
    assert filled(text.replace("$", "$$")) == text


@given(st.text(max_size=30), st.dictionaries(st.sampled_from(["A", "B"]), st.text(max_size=3)))
def test_any_text_is_filled_or_refused(template: str, env: dict[str, str]) -> None:
    try:
        result = interpolate({"key": template}, env, [])["key"]
    except Fault as fault:
        result = fault.problem
    assert isinstance(result, str)
