"""A word means one running container, or the line says which there are; a command is sent as Docker's client sends it."""

from __future__ import annotations

from typing import Any

import pytest

from cli.commands.execute import FLAGS, asked
from cli.errors import ApiError, CliError
from cli.flags.grammar import read
from cli.target import choose, container_of, container_of_task

HOSTS = {"n1": "w1", "n2": "w2"}


def task(slot: int, node: str = "n1", state: str = "running", container: str = "c") -> dict[str, Any]:
    status = {"State": state, "ContainerStatus": {"ContainerID": f"{container}{slot}"}}
    return {"ID": f"t{slot}", "Slot": slot, "NodeID": node, "Status": status}


def chosen(*tasks: dict[str, Any], slot: str = "") -> str:
    return choose("web", tasks, slot=slot, hostname=lambda node_id: HOSTS[node_id])


def test_one_running_task_needs_no_slot_and_a_slot_picks_one_of_several() -> None:
    assert chosen(task(4)) == "c4"
    assert chosen(task(1), task(2, "n2"), slot="2") == "c2"


def test_a_global_service_has_nodes_for_slots() -> None:
    everywhere = (task(0, "n1", container="a"), task(0, "n2", container="b"))
    assert chosen(*everywhere, slot="w2") == chosen(*everywhere, slot="n2") == "b0"
    with pytest.raises(CliError, match=r"service web has 2 running tasks: name one, as web\.w1, web\.w2$"):
        chosen(*everywhere)


def test_several_are_named_with_their_nodes_and_not_all_of_many() -> None:
    with pytest.raises(CliError, match=r"has 2 running tasks: name one, as web\.1 \(on w1\), web\.2 \(on w2\)$"):
        chosen(task(2, "n2"), task(1))
    with pytest.raises(CliError, match=r"web\.5 \(on w1\), 3 more$"):
        chosen(*(task(slot) for slot in range(1, 9)))


def test_none_says_where_to_look() -> None:
    with pytest.raises(CliError, match=r"service web has no running task: `shoal service why web` tells"):
        chosen()
    with pytest.raises(CliError, match=r"web\.7 has no running task; there are web\.1 \(on w1\)"):
        chosen(task(1), slot="7")
    with pytest.raises(CliError, match="task t1 is shutdown, and a command needs a running one"):
        container_of_task(task(1, state="shutdown"), "t1")


class Daemon:
    """A manager with the service web, or a worker."""

    def __init__(self, *, worker: bool = False) -> None:
        self.worker = worker

    def get(self, path: str) -> Any:
        if self.worker:
            raise ApiError(503, "This node is not a swarm manager.")
        known = {"/services/web": {"ID": "s1", "Spec": {"Name": "web"}}, "/tasks/t2": task(2)}
        if path not in known:
            raise ApiError(404, "not found")
        return known[path]

    def list(self, path: str, filters: Any) -> list[Any]:
        assert path == "/tasks"
        assert filters["service"] == ["s1"]
        return [task(1), task(2), task(3, state="preparing")]


@pytest.mark.parametrize(
    ("word", "container"), [("web.2", "c2"), ("t2", "c2"), ("0123456789ab", "0123456789ab"), ("web.1.t1", "web.1.t1"), ("db", "db")]
)
def test_what_is_no_service_and_no_task_is_a_container(word: str, container: str) -> None:
    assert container_of(Daemon(), word) == container  # type: ignore[arg-type]


def test_a_worker_takes_every_word_for_a_container() -> None:
    assert container_of(Daemon(worker=True), "web.2") == "web.2"  # type: ignore[arg-type]


def test_a_slot_of_no_service_and_two_slots_are_refused() -> None:
    with pytest.raises(CliError, match="--slot 2 takes a service, and t2x is none"):
        container_of(Daemon(), "t2x", slot="2")  # type: ignore[arg-type]
    with pytest.raises(CliError, match=r"web\.2 and --slot 1 name two slots"):
        container_of(Daemon(), "web.2", slot="1")  # type: ignore[arg-type]


def test_a_command_is_asked_for_with_all_that_was_said_of_it() -> None:
    words = read(
        ["-it", "-u", "3:4", "-w", "/tmp", "-e", "A=b", "-e", "HERE", "-e", "NOWHERE", "web", "ls", "-l"], FLAGS, interspersed=False
    )
    assert words.args == ("web", "ls", "-l")
    made = asked(words.flags, list(words.args[1:]), env={"HERE": "1"})
    assert made == {
        "Cmd": ["ls", "-l"],
        "AttachStdin": True,
        "AttachStdout": True,
        "AttachStderr": True,
        "Tty": True,
        "Privileged": False,
        "User": "3:4",
        "WorkingDir": "/tmp",
        "DetachKeys": "",
        "Env": ["A=b", "HERE=1"],
    }
    detached = asked(read(["-di", "web", "true"], FLAGS, interspersed=False).flags, ["true"], env={})
    assert not any(detached[f"Attach{stream}"] for stream in ("Stdin", "Stdout", "Stderr"))
