"""Files parse as docker parses them, and every value can be found again by its line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack_specs.document import parse
from stack_specs.errors import StackError


def refused(source: str | bytes) -> StackError:
    with pytest.raises(StackError) as caught:
        parse("stack.yml", source.encode() if isinstance(source, str) else source)
    return caught.value


def content(source: str) -> object:
    return parse("stack.yml", source.encode()).content


def test_values_keep_their_types() -> None:
    assert content("a: 1\nb: '1'\nc: [x, ~]\nd: {e: 1.5}") == {"a": 1, "b": "1", "c": ["x", None], "d": {"e": 1.5}}


def test_only_the_first_document_is_read() -> None:
    assert content("a: 1\n---\nb: [") == {"a": 1}


def test_a_byte_order_mark_is_not_text() -> None:
    assert parse("f", b"\xef\xbb\xbfa: 1").content == {"a": 1}


def test_merge_keys_give_way_to_own_keys_and_earlier_sources_win() -> None:
    assert content("x: {<<: [{a: 1, b: 1}, {a: 2, c: 3}], b: 9}") == {"x": {"a": 1, "b": 9, "c": 3}}


def test_an_anchor_can_be_set_again() -> None:
    assert content("a: &x 1\nb: &x 2\nc: *x") == {"a": 1, "b": 2, "c": 2}


def test_a_quoted_merge_sign_is_a_key_like_any_other() -> None:
    assert content('"<<": {a: 1}') == {"<<": {"a": 1}}


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("a: !!str 12", "12"),
        ("a: !!int '12'", 12),
        ("a: !!float 12", 12.0),
        ("a: !!binary aGVsbG8=", "hello"),
        ("a: !own 12", "12"),
        ("a: !own true", "true"),
        ("a: ! 12", 12),
        ("a: !!null ''", None),
    ],
)
def test_tags_decide_types(source: str, value: object) -> None:
    assert content(source) == {"a": value}


@pytest.mark.parametrize(
    ("source", "line", "says"),
    [
        ("", 1, "top-level object must be a mapping"),
        ("# nothing\n", 1, "top-level object must be a mapping"),
        ("- a", 1, "top-level object must be a mapping"),
        ("a: 1\nb: 2\na: 3", 3, "already defined on line 1"),
        ("a:\n  b: 1\n  'b': 2", 3, "already defined on line 2"),
        ("a: *x", 1, "no anchor &x"),
        ("a: &x [*x]", 1, "contains itself"),
        ("a: 1\n80: b", 2, "'80' is not text; put it in quotes"),
        ("true: b", 1, "is not text"),
        ("[a]: b", 1, "is not text"),
        ("a:\n  <<: 3", 2, "only a mapping or a list of mappings can be merged in"),
        ("a: .inf", 1, "put it in quotes"),
        ("a: [.nan]", 1, "put it in quotes"),
        ("a: !!int foo", 1, "not of the type !!int"),
        ("a: !!bool yes", 1, "not of the type !!bool"),
        ("a: !!binary '%'", 1, "not base64"),
        ("a:\n\tb: 1", 2, "this is not YAML"),
        ("a: b: c", 1, "this is not YAML"),
        ("a: [1\nb", 2, "while parsing a flow sequence that began on line 1"),
        ("a: " + "[" * 200, 1, "levels deep"),
    ],
)
def test_a_bad_file_is_refused_with_its_line(source: str, line: int, says: str) -> None:
    error = refused(source)
    assert (error.file, error.line) == ("stack.yml", line)
    assert says in str(error)


def test_bytes_that_are_not_text_are_refused() -> None:
    assert "this is not YAML" in str(refused(b"a: \xff"))
    assert "control characters" in str(refused(b"a: \x01"))


def test_aliases_cannot_blow_a_small_file_up() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert "once its aliases are written out" in str(refused("\n".join(lines)))


def test_the_line_of_a_value_is_that_of_its_key() -> None:
    file = parse("f", b"a:\n  b:\n    - x\n    - y\nc: &m\n  d: 1\ne:\n  <<: *m\n  f: 2\n")
    assert file.line_of(("a", "b")) == 2
    assert file.line_of(("a", "b", 1)) == 4
    assert file.line_of(("a", "nowhere", "at", "all")) == 1
    assert file.line_of(("e", "d")) == 6
    assert file.line_of(("e", "f")) == 9
    assert file.line_of(()) is None


def test_a_file_knows_how_much_of_a_path_it_has() -> None:
    file = parse("f", b"a: {b: [1]}")
    assert [file.depth_of(path) for path in ((), ("a",), ("a", "b", 0), ("a", "c", "d"), ("z",))] == [0, 1, 3, 1, 0]


@given(st.binary(max_size=200) | st.text(alphabet="ab:-[]{}&*!?|>'\"%@#,<~ \n\t0189.", max_size=60).map(str.encode))
def test_any_bytes_are_read_or_refused_in_one_line(source: bytes) -> None:
    try:
        said = str(parse("f", source).content.keys())
    except StackError as error:
        said = str(error)
    assert "\n" not in said
