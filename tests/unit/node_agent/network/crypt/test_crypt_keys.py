"""The ring of keys: which one seals, and when it may be taken for a continuation of the one before."""

import pytest

from node_agent.network.crypt.keys import KeyRing, derive
from tests.unit.node_agent.network.crypt.two_ends import key


@pytest.mark.parametrize(("ids", "present"), [((), 0), ((1,), 1), ((1, 2), 1), ((1, 2, 3), 2), ((7, 5, 6), 6)])
def test_the_newest_key_is_not_used_until_another_is_drawn(ids: tuple[int, ...], present: int) -> None:
    assert KeyRing(key(one) for one in ids).present == present


@pytest.mark.parametrize(
    ("before", "after", "follows"),
    [
        ((1, 2), (1, 2, 3), True),
        ((1, 2, 3), (2, 3, 4), True),
        ((1, 2, 3), (3, 4, 5), True),
        ((1, 2, 3), (1, 2, 3), True),
        ((1, 2, 3), (4, 5, 6), False),
        ((2, 3, 4), (1, 2, 3), False),
        ((2, 3, 4), (2, 3), False),
        ((1, 2, 3), (), False),
        ((), (1, 2), False),
    ],
)
def test_a_ring_goes_on_from_another_or_begins_anew(before: tuple[int, ...], after: tuple[int, ...], follows: bool) -> None:
    assert KeyRing(key(one) for one in after).follows(KeyRing(key(one) for one in before)) is follows


def test_an_id_with_another_key_is_no_continuation() -> None:
    assert not KeyRing((key(2, byte=9), key(3))).follows(KeyRing((key(1), key(2))))


def test_each_purpose_direction_and_salt_has_its_own_key() -> None:
    made = {
        derive(bytes(32), purpose, sender=sender, receiver=receiver, salt=salt, length=32)
        for purpose in ("packets 0", "packets 1", "greetings")
        for sender, receiver in (("a", "b"), ("b", "a"), ("a", "c"))
        for salt in (b"", b"x" * 32, b"y" * 32)
    }
    assert len(made) == 27


def test_a_key_does_not_show_itself() -> None:
    assert "key=" not in repr(key(1))
    assert repr(key(1)) == "DataKey(id=1)"
