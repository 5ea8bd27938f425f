"""Networks, volumes, secrets and configs are read, old and new ways of naming external ones included."""

import pytest

from stack_specs.errors import StackError
from stack_specs.model import External, FileObject, Ipam, Network, Subnet, Volume
from tests.unit.stack_specs.stack_files import loaded

OUTSIDE = External(external=True)


def network(written: str, version: str = "3.13") -> Network:
    return loaded(f"version: '{version}'\nnetworks: {{n: {written}}}").networks["n"]


def test_a_network_may_say_nothing() -> None:
    assert network("") == Network()


def test_all_of_a_network() -> None:
    read = network(
        "{name: real, driver: overlay, driver_opts: {a: 1}, internal: true, attachable: true, labels: [x=y],"
        " ipam: {driver: default, config: [{subnet: 10.1.0.0/16}]}}"
    )
    assert read == Network(
        name="real",
        driver="overlay",
        driver_opts={"a": "1"},
        internal=True,
        attachable=True,
        labels={"x": "y"},
        ipam=Ipam(driver="default", config=(Subnet(subnet="10.1.0.0/16"),)),
    )


@pytest.mark.parametrize("kind", ["network", "volume", "secret", "config"])
class TestExternal:
    """What holds for all four kinds."""

    def read(self, kind: str, written: str, version: str = "3.13") -> tuple[str, External, tuple[str, ...]]:
        stack = loaded(f"version: '{version}'\n{kind}s: {{it: {written}}}")
        found: Network | Volume | FileObject = getattr(stack, f"{kind}s")["it"]
        return found.name, found.external, stack.warnings

    def test_its_name_is_its_key(self, kind: str) -> None:
        assert self.read(kind, "{external: true}") == ("it", OUTSIDE, ())

    def test_or_the_name_that_is_given(self, kind: str) -> None:
        assert self.read(kind, "{external: true, name: other}") == ("other", OUTSIDE, ())

    def test_or_the_older_name_with_a_warning(self, kind: str) -> None:
        warning = f"{kind} it: {kind}.external.name is deprecated in favor of {kind}.name"
        assert self.read(kind, "{external: {name: other}}") == ("other", OUTSIDE, (warning,))

    def test_and_no_warning_where_nothing_else_existed(self, kind: str) -> None:
        assert self.read(kind, "{external: {name: other}}", version="3.3") == ("other", OUTSIDE, ())

    def test_two_names_conflict(self, kind: str) -> None:
        with pytest.raises(StackError, match=f"{kind}s.it.external: {kind}.external.name and {kind}.name conflict"):
            self.read(kind, "{external: {name: other}, name: another}")

    def test_false_means_that_it_is_not(self, kind: str) -> None:
        assert self.read(kind, "{external: false}") == ("", External(), ())


def test_an_external_volume_has_settings_of_its_own() -> None:
    for setting in ("driver: x", "driver_opts: {a: b}", "labels: {a: b}"):
        with pytest.raises(StackError, match='conflicting parameters "external" and'):
            loaded(f"volumes: {{v: {{external: true, {setting}}}}}")


def test_a_volume_without_options_is_not_one_with_none() -> None:
    volumes = loaded("volumes: {a: , b: {driver_opts: {}}, c: {driver: local, driver_opts: {type: nfs, size: 2.50}}}").volumes
    assert (volumes["a"].driver_opts, volumes["b"].driver_opts, volumes["c"].driver_opts) == (None, {}, {"type": "nfs", "size": "2.5"})


def test_a_cluster_volume_has_its_sizes_in_bytes() -> None:
    spec = "{group: g, capacity_range: {required_bytes: 1G}, accessibility_requirements: {requisite: [{segments: [a=b]}]}, unknown: 1}"
    volume = loaded(f"volumes: {{v: {{x-cluster-spec: {spec}, x-own: 1}}}}").volumes["v"]
    assert volume.cluster_spec == {
        "group": "g",
        "capacity_range": {"required_bytes": "1073741824"},
        "accessibility_requirements": {"requisite": [{"segments": {"a": "b"}}]},
    }


def test_a_secret_comes_from_a_file_or_a_driver() -> None:
    secrets = loaded("secrets: {a: {file: ./a.txt, labels: [x]}, b: {driver: vault, driver_opts: {p: q}, template_driver: golang}}").secrets
    assert secrets["a"] == FileObject(file="/srv/a.txt", labels={"x": ""})
    assert secrets["b"] == FileObject(driver="vault", driver_opts={"p": "q"}, template_driver="golang")


def test_a_secret_cannot_come_from_both() -> None:
    with pytest.raises(StackError, match=r"secrets\.a\.file: secret\.driver and secret\.file conflict"):
        loaded("secrets: {a: {file: ./a.txt, driver: vault}}")


def test_an_unchecked_network_must_still_be_a_mapping() -> None:
    with pytest.raises(StackError, match=r"networks\.a b: must be a mapping"):
        loaded("networks: {'a b': 3}")
