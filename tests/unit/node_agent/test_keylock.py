"""An unlock key opens what was sealed with it, in the file it was sealed for, and nothing else does."""

import pytest

from node_agent.keylock import WrongUnlockKey, is_sealed, parse, seal, unlock_key, unseal

KEY, OTHER, RANDOM = bytes(range(32)), bytes(32), bytes(range(28))


def test_an_unlock_key_is_dockers_and_reads_back() -> None:
    text = unlock_key(KEY)
    assert text.startswith("SWMKEY-1-")
    assert len(text) == len("SWMKEY-1-") + 43
    assert parse(f" {text}\n") == KEY


@pytest.mark.parametrize("text", ["", "SWMKEY-1-", "SWMKEY-1-AAAA", "SWMKEY-1-!!!", "SWMTKN-1-" + "A" * 43, unlock_key(KEY)[9:]])
def test_what_is_no_unlock_key_is_refused_in_dockers_words(text: str) -> None:
    with pytest.raises(WrongUnlockKey, match="swarm could not be unlocked: invalid key provided"):
        parse(text)


def test_only_the_key_opens_it() -> None:
    sealed = seal(b"secret", KEY, "node.key", random=RANDOM)
    assert is_sealed(sealed)
    assert not is_sealed(b"-----BEGIN PRIVATE KEY-----")
    assert b"secret" not in sealed
    assert unseal(sealed, KEY, "node.key") == b"secret"
    for wrong in ((sealed, OTHER, "node.key"), (sealed, KEY, "raft.key"), (sealed[:-1], KEY, "node.key"), (b"", KEY, "node.key")):
        with pytest.raises(WrongUnlockKey):
            unseal(*wrong)
