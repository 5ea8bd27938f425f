"""Refusals in the words of Docker's managers."""

import pytest

from cluster.api.errors import Conflict, FailedPrecondition, InvalidArgument, NoLeader, NotFound, OutOfSequence, ShoalError, Unavailable
from node_agent.api.refusals import by_manager


@pytest.mark.parametrize(
    ("refused", "said"),
    [
        (Conflict("config c already exists"), "rpc error: code = AlreadyExists desc = config c already exists"),
        (
            InvalidArgument("only updates to Labels are allowed"),
            "rpc error: code = InvalidArgument desc = only updates to Labels are allowed",
        ),
        (FailedPrecondition("network n is in use by task t"), "rpc error: code = FailedPrecondition desc = network n is in use by task t"),
        (NotFound("network n not found"), "rpc error: code = NotFound desc = network n not found"),
    ],
)
def test_a_refusal_of_the_manager_begins_with_its_code_and_keeps_its_kind(refused: ShoalError, said: str) -> None:
    worded = by_manager(refused)
    assert (str(worded), type(worded)) == (said, type(refused))


@pytest.mark.parametrize("refused", [OutOfSequence("service web"), NoLeader(), Unavailable("this node is not a swarm manager")])
def test_what_has_docker_s_words_already_or_is_no_answer_of_a_manager_stays(refused: ShoalError) -> None:
    assert by_manager(refused) is refused
