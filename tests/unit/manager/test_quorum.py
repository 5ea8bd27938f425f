"""A manager that is left alone says who is missing and what helps."""

from manager.quorum import Seen, missing


def seen(*answering: bool) -> list[Seen]:
    return [Seen(name=f"m{number}", addr=f"10.0.0.{number}:2377", answers=answers) for number, answers in enumerate(answering, 1)]


def test_who_is_silent_is_named_with_the_cure() -> None:
    assert missing(seen(True, False, False)) == (
        "2 of 3 managers are needed and nothing is heard of m2 (10.0.0.2:2377) and m3 (10.0.0.3:2377): start them or mend the network "
        "between; if they are lost for good, `docker swarm init --force-new-cluster` on this manager goes on without them"
    )


def test_half_of_the_managers_are_too_few() -> None:
    assert missing(seen(True, False)).startswith("2 of 2 managers are needed and nothing is heard of m2 (10.0.0.2:2377): start")
    assert missing(seen(True, True, False, False)).startswith("3 of 4 managers are needed")


def test_with_enough_of_them_it_is_an_election() -> None:
    assert missing(seen(True, True, False)) == "2 of 3 managers answer and have not agreed on a leader yet: try again in a moment"


def test_one_alone_misses_nobody() -> None:
    assert missing(seen(True)) == ""
    assert missing([]) == ""
