"""Join tokens name their cluster, and say nothing when they are wrong."""

import pytest

from cluster.api.errors import InvalidArgument
from cluster.rpc.identity import new_key
from cluster.rpc.tokens import JoinToken, ca_digest, parse, same_secret, secret_from
from manager.ca.authority import make_root


def root_pem() -> str:
    return make_root(new_key(), cluster_id="c" * 25, now=1_700_000_000, serial=1).certificate


def test_a_token_reads_as_it_was_written() -> None:
    token = JoinToken(ca_digest(root_pem()), secret_from(b"s" * 16))
    assert parse(f" {token}\n") == token
    assert str(token).startswith("SWMTKN-1-")


def test_the_digest_is_the_roots_own() -> None:
    one = root_pem()
    assert ca_digest(one) == ca_digest(one)
    assert ca_digest(one) != ca_digest(root_pem())


@pytest.mark.parametrize(
    "text", ["", "SWMTKN", "SWMTKN-1-abc-def", "SWMTKN-2-" + "a" * 50 + "-" + "b" * 25, "SWMTKN-1-" + "A" * 50 + "-" + "b" * 25]
)
def test_a_damaged_token_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid join token") as refused:
        parse(text)
    assert "b" * 25 not in str(refused.value)


def test_only_the_same_secret_matches_and_an_empty_token_matches_nothing() -> None:
    token = str(JoinToken("d" * 50, "s" * 25))
    assert same_secret("s" * 25, token)
    assert not same_secret("t" * 25, token)
    assert not same_secret("", "")
