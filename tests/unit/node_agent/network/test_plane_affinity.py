"""Which backend a client stays with: few move when one goes, and nobody has to be asked."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from node_agent.network.affinity import SLOTS, owners

NAMES = st.sets(st.from_regex(r"[a-z0-9]{1,6}", fullmatch=True), min_size=2, max_size=12)


def slots(names: set[str]) -> dict[str, str]:
    return owners({name: name for name in names})


@settings(deadline=None)  # thousands of hashes, and whatever else the machine does
@given(NAMES, st.data())
def test_a_backend_that_goes_moves_its_own_clients_and_nobody_elses(names: set[str], data: st.DataObject) -> None:
    gone = data.draw(st.sampled_from(sorted(names)))
    before, after = slots(names), slots(names - {gone})
    assert before.keys() == after.keys() == {str(slot) for slot in range(SLOTS)}
    assert {slot for slot in before if before[slot] != after[slot]} == {slot for slot, name in before.items() if name == gone}


@settings(deadline=None)  # thousands of hashes, and whatever else the machine does
@given(NAMES, st.data())
def test_the_best_of_all_is_the_best_of_any_group_that_it_is_in(names: set[str], data: st.DataObject) -> None:
    group = data.draw(st.sets(st.sampled_from(sorted(names)), min_size=1))
    everyone, some = slots(names), slots(group)
    assert all(some[slot] == name for slot, name in everyone.items() if name in group)


def test_shares_are_about_equal_and_the_same_on_every_machine() -> None:
    shares = Counter(slots({f"10.0.0.{n}" for n in range(8)}).values())
    assert len(shares) == 8
    assert all(40 < share < 95 for share in shares.values()), shares
    three = slots({"a", "b", "c"})
    assert "".join(three[str(slot)] for slot in range(8)) == "bbabbbac", "two versions in one cluster must agree"


def test_where_a_backend_is_reached_is_told_and_does_not_decide() -> None:
    here = owners({"a": "10.0.0.1 . 80", "b": "10.96.0.2 . 8080"})
    assert {slot: place == "10.0.0.1 . 80" for slot, place in here.items()} == {
        slot: name == "a" for slot, name in slots({"a", "b"}).items()
    }
    assert owners({}) == {}
