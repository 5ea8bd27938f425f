"""What version and info say of two worlds."""

from node_agent.api.system import Product, info_view, version_view

PRODUCT = Product(version="1.2.3", commit="abc")


def test_version_is_the_engines_with_us_as_a_component() -> None:
    engine = {
        "Version": "20.10.24",
        "ApiVersion": "1.41",
        "MinAPIVersion": "1.12",
        "Os": "linux",
        "Components": [{"Name": "Engine", "Version": "20.10.24"}],
    }
    shown = version_view(engine, PRODUCT)
    assert (shown["Version"], shown["ApiVersion"], shown["MinAPIVersion"], shown["Os"]) == ("20.10.24", "1.51", "1.24", "linux")
    assert [part["Name"] for part in shown["Components"]] == ["Engine", "Shoal"]
    assert shown["Components"][1]["Details"] == {"ApiVersion": "1.51", "MinAPIVersion": "1.24", "GitCommit": "abc"}
    assert shown["Platform"] == {"Name": "Shoal 1.2.3"}


def test_version_without_an_engine_says_why() -> None:
    shown = version_view({"Version": "0.0.0"}, PRODUCT, trouble="cannot connect")
    assert "cannot connect" in shown["Platform"]["Name"]
    assert shown["Components"][0]["Details"]["Engine"] == "cannot connect"


def test_info_has_our_swarm_and_both_warnings() -> None:
    engine = {"Name": "n", "Swarm": {"LocalNodeState": "inactive", "Cluster": {}}, "Warnings": ["WARNING: No swap limit support"]}
    shown = info_view(engine, {"LocalNodeState": "active"}, ["WARNING: ours"])
    assert shown["Swarm"] == {"LocalNodeState": "active"}
    assert shown["Warnings"] == ["WARNING: No swap limit support", "WARNING: ours"]
    assert info_view({}, {}, [])["Warnings"] is None


def test_info_names_what_encrypts_overlays_beside_what_the_engine_is_secured_by() -> None:
    shown = info_view({"SecurityOptions": ["name=seccomp,profile=default"]}, {}, [], encryption="userspace")
    assert shown["SecurityOptions"] == ["name=seccomp,profile=default", "name=overlay-encryption,driver=userspace"]
    assert info_view({}, {}, [])["SecurityOptions"] == ["name=overlay-encryption,driver=none"]


def test_info_has_the_name_that_the_swarm_knows_this_node_by() -> None:
    assert info_view({"Name": "host"}, {}, [], hostname="m1")["Name"] == "m1"
    assert info_view({"Name": "host"}, {}, [])["Name"] == "host"


def test_info_says_that_we_debug_or_that_the_engine_does() -> None:
    assert info_view({"Debug": False}, {}, [])["Debug"] is False
    assert info_view({"Debug": True}, {}, [])["Debug"] is True
    assert info_view({"Debug": False}, {}, [], debug=True)["Debug"] is True
