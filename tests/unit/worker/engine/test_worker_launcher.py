"""What an engine of ours is configured with: the host's own file, less what says where it lives."""

from worker.engine.launcher import settings_of


def test_the_hosts_file_counts_except_for_places_and_what_keeps_containers_alive() -> None:
    host = {
        "data-root": "/srv/docker",
        "hosts": ["fd://"],
        "tlsverify": True,
        "live-restore": False,
        "registry-mirrors": ["a"],
        "mtu": 1400,
    }
    assert settings_of(host, {}) == {"registry-mirrors": ["a"], "mtu": 1400, "live-restore": True}


def test_what_is_given_to_us_wins() -> None:
    assert settings_of({"mtu": 1400}, {"mtu": 9000, "live-restore": False}) == {"mtu": 9000, "live-restore": False}
