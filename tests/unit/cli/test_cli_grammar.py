"""The promise: a command line is read as Docker's CLI reads it."""

from __future__ import annotations

import pytest

from cli.command import Arity
from cli.errors import Usage
from cli.flags.entries import FILTER, filters
from cli.flags.grammar import COMMA_LIST, LIST, SWITCH, TEXT, UINT, Flag, read

FLAGS = (
    Flag("detach", SWITCH, "", short="d"),
    Flag("tty", SWITCH, "", short="t"),
    Flag("env", LIST, "", short="e"),
    Flag("name", TEXT, ""),
    Flag("replicas", UINT, ""),
    Flag("compose-file", COMMA_LIST, "", short="c"),
)


@pytest.mark.parametrize(
    ("line", "given", "args"),
    [
        (["--detach", "web"], {"detach": True}, ("web",)),
        (["--detach=false", "web"], {"detach": False}, ("web",)),
        (["-d", "web"], {"detach": True}, ("web",)),
        (["-d=false"], {"detach": False}, ()),
        (["-dt"], {"detach": True, "tty": True}, ()),
        (["-dteA=1"], {"detach": True, "tty": True, "env": ["A=1"]}, ()),
        (["-e", "A=1", "-eB=2", "-e=C=3", "--env", "D", "--env=E"], {"env": ["A=1", "B=2", "C=3", "D", "E"]}, ()),
        (["--name", "--odd"], {"name": "--odd"}, ()),
        (["--name="], {"name": ""}, ()),
        (["--name", "a", "--name", "b"], {"name": "b"}, ()),
        (["web", "--detach", "x"], {"detach": True}, ("web", "x")),
        (["--", "--detach"], {}, ("--detach",)),
        (["a", "--", "-x", "--"], {}, ("a", "-x", "--")),
        (["-"], {}, ("-",)),
        (["-c", "a,b", "-c", "c"], {"compose-file": ["a", "b", "c"]}, ()),
        (["-c", "-"], {"compose-file": ["-"]}, ()),
    ],
)
def test_words_are_divided_into_flags_and_arguments(line: list[str], given: dict[str, object], args: tuple[str, ...]) -> None:
    words = read(line, FLAGS)
    assert {name: words.flags.value(name) for name in words.flags.names()} == given
    assert words.args == args


def test_after_the_image_everything_belongs_to_the_task() -> None:
    words = read(["--detach", "busybox", "sh", "--name", "-c"], FLAGS, interspersed=False)
    assert words.args == ("busybox", "sh", "--name", "-c")
    assert list(words.flags.names()) == ["detach"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["--bogus"], "unknown flag: --bogus"),
        (["--bogus=1"], "unknown flag: --bogus"),
        (["-x"], "unknown shorthand flag: 'x' in -x"),
        (["-dx"], "unknown shorthand flag: 'x' in -dx"),
        (["--name"], "flag needs an argument: --name"),
        (["-e"], "flag needs an argument: 'e' in -e"),
        (["--replicas", "x"], 'invalid argument "x" for "--replicas" flag: strconv.ParseUint: parsing "x": invalid syntax'),
        (["--detach=maybe"], 'invalid argument "maybe" for "-d, --detach" flag: strconv.ParseBool: parsing "maybe": invalid syntax'),
        (["--=x"], "bad flag syntax: --=x"),
    ],
)
def test_what_is_wrong_with_a_flag_is_said_in_dockers_words_with_code_125(line: list[str], said: str) -> None:
    with pytest.raises(Usage) as wrong:
        read(line, FLAGS)
    assert (wrong.value.message, wrong.value.code) == (said, 125)


def test_filters_of_one_name_are_alternatives() -> None:
    words = read(["--filter", "name=a", "--filter", "Name=b", "--filter", "label=x=y"], (Flag("filter", FILTER, ""),))
    assert filters(words.flags.many("filter")) == {"name": ["a", "b"], "label": ["x=y"]}


@pytest.mark.parametrize(
    ("arity", "count", "said"),
    [
        (Arity(0, 0), 1, "shoal: 'shoal x' accepts no arguments"),
        (Arity(1, 1), 0, "shoal: 'shoal x' requires 1 argument"),
        (Arity(2, 2), 1, "shoal: 'shoal x' requires 2 arguments"),
        (Arity(1, None), 0, "shoal: 'shoal x' requires at least 1 argument"),
        (Arity(1, 2), 3, "shoal: 'shoal x' requires at most 2 arguments"),
    ],
)
def test_a_wrong_number_of_arguments_is_said(arity: Arity, count: int, said: str) -> None:
    with pytest.raises(Usage) as wrong:
        arity.check(count, "shoal x")
    assert (wrong.value.message, wrong.value.code) == (said, 1)
