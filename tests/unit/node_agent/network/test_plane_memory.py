"""What a daemon that was killed finds again: all that the one before it had written."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.api.endpoint import ServiceEndpoint
from node_agent.network.memory import Memory
from node_agent.network.view import Known, LocalTask, View

SERVICES = {f"s{number}": ServiceEndpoint(service_id=f"s{number}", name=f"web{number}") for number in range(50)}


def known(services: Mapping[str, ServiceEndpoint], version: int = 1) -> Known:
    return Known(
        view=View(version=version, services=services),
        tasks={"t": LocalTask(task_id="t", service_id="s1", addresses={"net": f"10.0.0.{version % 250}"})},
    )


def renamed(key: str, name: str) -> ServiceEndpoint:
    return msgspec.structs.replace(SERVICES[key], name=name)


@settings(deadline=None)  # it writes files
@given(st.lists(st.dictionaries(st.sampled_from(sorted(SERVICES)[:4]), st.sampled_from("xyz"), max_size=4), min_size=1, max_size=20))
def test_what_was_saved_last_is_loaded_whatever_came_and_went_before(names: list[dict[str, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state"
        memory = Memory(path)
        for version, those in enumerate(names, 1):
            state = known({key: renamed(key, name) for key, name in those.items()}, version)
            memory.save(state)
            assert Memory(path).load() == state


def test_of_many_services_only_the_one_that_changed_is_written_and_the_file_does_not_grow_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "state"
    memory, services, sizes = Memory(path), dict(SERVICES), []
    for version in range(1, 200):
        services = {**services, "s7": renamed("s7", f"name{version}")}
        memory.save(known(services, version))
        sizes.append(path.stat().st_size)
    assert sizes[1] - sizes[0] < sizes[0] / 5
    assert max(sizes) < 3 * sizes[0]
    assert Memory(path).load() == known(services, 199)


def test_what_was_cut_short_counts_for_nothing(tmp_path: Path) -> None:
    path = tmp_path / "state"
    memory = Memory(path)
    memory.save(known(SERVICES, 1))
    whole = path.stat().st_size
    memory.save(known({**SERVICES, "s1": renamed("s1", "other")}, 2))
    content = path.read_bytes()
    for length in range(whole, len(content)):
        path.write_bytes(content[:length])
        assert Memory(path).load() == known(SERVICES, 1)
    path.write_bytes(content[: whole - 1])
    assert Memory(path).load() == Known()


def test_a_file_that_somebody_took_away_is_written_whole_again(tmp_path: Path) -> None:
    path = tmp_path / "state"
    memory = Memory(path)
    memory.save(known(SERVICES, 1))
    path.unlink()
    memory.save(known({**SERVICES, "s1": renamed("s1", "other")}, 2))
    assert Memory(path).load() == known({**SERVICES, "s1": renamed("s1", "other")}, 2)


def test_a_file_of_another_boot_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "state"
    Memory(path).save(known(SERVICES))
    boot = Path("/proc/sys/kernel/random/boot_id").read_bytes()
    path.write_bytes(path.read_bytes().replace(boot, b"0" * len(boot)))
    assert Memory(path).load() == Known()
