"""Which handler a request belongs to, which version it speaks, what its query says."""

import pytest

from cluster.api.errors import InvalidArgument
from node_agent.api.messages import ApiRequest, ApiResponse, Query
from node_agent.api.routing import Route, Router
from node_agent.api.versions import NEWEST, ApiVersion, EngineVersions, split_version


async def one(_: ApiRequest) -> ApiResponse:
    return ApiResponse()


async def two(_: ApiRequest) -> ApiResponse:
    return ApiResponse()


def test_names_in_a_pattern_are_handed_over_decoded() -> None:
    router = Router([Route("GET", "/services/{id}", one), Route("POST", "/services/{id}/update", two)])
    match = router.find("GET", "/services/a%20b")
    assert match is not None
    assert (match.handler, match.params) == (one, {"id": "a b"})
    assert router.find("POST", "/services/x") is None
    assert router.find("GET", "/services/x/y") is None


def test_a_service_may_be_called_update() -> None:
    router = Router([Route("POST", "/services/{id}/update", one), Route("GET", "/services/{id}", two)])
    match = router.find("POST", "/services/update/update")
    assert match is not None
    assert match.params == {"id": "update"}


def test_an_encoded_slash_belongs_to_the_name() -> None:
    match = Router([Route("GET", "/networks/{id}", one)]).find("GET", "/networks/a%2Fb")
    assert match is not None
    assert match.params == {"id": "a/b"}


def test_a_name_of_many_segments_is_possible() -> None:
    match = Router([Route("GET", "/images/{name:*}/json", one)]).find("GET", "/images/host:5000/a/b/json")
    assert match is not None
    assert match.params == {"name": "host:5000/a/b"}


def test_the_first_of_two_routes_wins() -> None:
    router = Router(
        [Route("GET", "/networks", one), Route("GET", "/networks", two), Route("GET", "/x/{a}", two), Route("GET", "/x/{b}", one)]
    )
    assert [match.handler for path in ("/networks", "/x/1") if (match := router.find("GET", path))] == [one, two]


def test_a_path_may_name_a_version() -> None:
    assert split_version("/v1.41/info") == (ApiVersion(1, 41), "/info")
    assert split_version("/info") == (NEWEST, "/info")
    assert split_version("/version") == (NEWEST, "/version")
    assert split_version("/v1.24/services/v1.41/x") == (ApiVersion(1, 24), "/services/v1.41/x")


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/v1.52/info", "client version 1.52 is too new. Maximum supported API version is 1.51"),
        ("/v1.9/info", "client version 1.9 is too old. Minimum supported API version is 1.24, please upgrade"),
        ("/v1.2.3/info", "invalid API version"),
    ],
)
def test_other_versions_are_refused_in_dockers_words(path: str, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        split_version(path)


def test_the_engine_is_asked_in_a_version_that_it_speaks() -> None:
    old = EngineVersions(ApiVersion(1, 41), ApiVersion(1, 12), "20.10", "amd64", "", "false")
    new = EngineVersions(ApiVersion(1, 52), ApiVersion(1, 44), "29.0", "amd64", "2", "false")
    assert old.spoken(ApiVersion(1, 51)) == ApiVersion(1, 41)
    assert old.spoken(ApiVersion(1, 30)) == ApiVersion(1, 30)
    assert new.spoken(ApiVersion(1, 51)) == ApiVersion(1, 51)
    assert new.spoken(ApiVersion(1, 30)) == ApiVersion(1, 44)


def test_a_query_is_read_as_docker_reads_it() -> None:
    query = Query("all=1&t=-3&a=x&a=y&no=0&none=None&blank=&word=a%2Bb+c")
    assert [query.flag(name) for name in ("all", "no", "none", "blank", "missing", "word")] == [True, False, False, False, False, True]
    assert query.number("t") == -3
    assert query.number("missing", 7) == 7
    assert query.get("a") == "x"
    assert query.all("a") == ["x", "y"]
    assert query.get("word") == "a+b c"
    with pytest.raises(InvalidArgument, match="invalid value 'x' for a: expected a whole number"):
        query.number("a")
