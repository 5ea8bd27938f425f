"""Ports are ordered as docker orders them, so that a stack deployed by docker does not restart when shoal deploys it."""

from hypothesis import given
from hypothesis import strategies as st

from stack_specs.port_order import _Sorting, in_docker_order
from stack_specs.ports import Port


def ports(published: list[int]) -> list[Port]:
    return [Port(target=number, published=port) for number, port in enumerate(published, 1)]


def targets(published: list[int]) -> list[int]:
    return [port.target for port in in_docker_order(ports(published))]


def test_short_lists_keep_the_order_of_the_file_for_equal_ports() -> None:
    assert targets([53, 0, 53, 0, 25]) == [2, 4, 5, 1, 3]


def test_long_lists_are_shuffled_as_docker_shuffles_them() -> None:
    # As recorded from docker 28.2 for a published port 0 six times and sixteen others.
    published = [0, 0, 0, 0, 0, 0, 8000, 9090, 9091, 49100, 8001, *range(5000, 5011)]
    assert targets(published)[:6] == [2, 3, 4, 5, 6, 1]


@given(st.lists(st.integers(min_value=0, max_value=9), max_size=100))
def test_every_port_is_there_once_and_in_order(published: list[int]) -> None:
    ordered = in_docker_order(ports(published))
    assert sorted(port.target for port in ordered) == list(range(1, len(published) + 1))
    assert [port.published for port in ordered] == sorted(published)


@given(st.lists(st.integers(min_value=0, max_value=99), max_size=60))
def test_it_sorts_even_without_patience(keys: list[int]) -> None:
    sorting = _Sorting(list(keys))
    sorting.sort(0, len(keys), 0)
    assert [keys[index] for index in sorting.order] == sorted(keys)
