"""`docker ps --filter network=` finds what is on a network of the cluster, and `is-task` the containers of tasks."""

import json
from urllib.parse import parse_qs, urlencode

import pytest

from cluster.api.errors import InvalidArgument
from node_agent.api.container_lists import Asked, asked_of_engine
from node_agent.api.messages import Query

TASK, OTHER = {"Labels": {"shoal.cluster": "c1"}}, {"Labels": None}


def asked(filters: dict[str, list[str]], **others: str) -> tuple[Asked, dict[str, object], dict[str, list[str]]]:
    """What is asked, its filters, and its other parameters."""
    names = {"web": "shoal-0123456789ab", "netid": "shoal-0123456789ab"}
    given = asked_of_engine(Query(urlencode({**others, "filters": json.dumps(filters)})), names.get)
    sent = parse_qs(given.query or "")
    return given, json.loads(sent.pop("filters", ["{}"])[0]), sent


@pytest.mark.parametrize("name", ["web", "netid"])
def test_a_network_of_the_cluster_is_asked_for_by_its_bridge_and_others_by_their_names(name: str) -> None:
    _, filters, others = asked({"network": [name, "bridge"], "label": ["a=b"]}, all="1", size="1")
    assert filters == {"label": {"a=b": True}, "network": {"shoal-0123456789ab": True, "bridge": True}}
    assert others == {"all": ["1"], "size": ["1"]}


def test_containers_of_tasks_are_known_by_our_label() -> None:
    given, filters, _ = asked({"is-task": ["true"]})
    assert filters == {"label": {"shoal.cluster": True}}
    assert (given.meant(TASK), given.meant(OTHER)) == (True, False)
    given, filters, _ = asked({"is-task": ["false"], "status": ["exited"]})
    assert filters == {"status": {"exited": True}}
    assert (given.meant(TASK), given.meant(OTHER)) == (False, True)


def test_other_filters_go_as_they_came() -> None:
    given, _, _ = asked({"label": ["a"]})
    assert given == Asked(None)
    assert given.meant(TASK)
    assert given.meant(OTHER)


def test_a_truth_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="is-task"):
        asked({"is-task": ["perhaps"]})
