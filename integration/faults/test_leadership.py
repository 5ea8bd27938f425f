"""Leaders come and go: what was asked is done once, and what nodes said to one leader the next one knows."""

import http.client
import threading
import time
from types import TracebackType

import pytest

from integration.cluster_rig import Cluster, Daemon, wait_until
from integration.faults.rig import create, local_state, managers_but, patience, reachable, running, state_of
from integration.witness import Answered, ask, filtered

pytestmark = [pytest.mark.root, pytest.mark.engine, pytest.mark.timeout(120)]


class Editor:
    """Creates, changes and removes one service after the other through one manager, as a client that trusts every answer."""

    def __init__(self, daemon: Daemon, prefix: str) -> None:
        self._daemon = daemon
        self._prefix = prefix
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"editor of {daemon.name}", daemon=True)
        self.kept: dict[str, str] = {}
        """name -> id as answered, of the services that it left there."""
        self.done = 0
        self.surprises: list[str] = []

    def __enter__(self) -> "Editor":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        self._thread.join(30)

    def _work(self) -> None:
        number = 0
        while not self._over.is_set() and not self.surprises:
            number += 1
            try:
                self._edit(f"{self._prefix}-{number}", keep=number % 2 == 0)
            except (AssertionError, OSError, http.client.HTTPException) as surprise:
                self.surprises.append(f"{self._daemon.name}: {surprise}")
            self.done = number

    def _edit(self, name: str, *, keep: bool) -> None:
        spec = {
            "Name": name,
            "TaskTemplate": {"ContainerSpec": {"Image": "none", "Args": ["true"]}},
            "Mode": {"Replicated": {"Replicas": 0}},
        }
        made = self._ask("POST", "/services/create", spec).body["ID"]
        before = self._ask("GET", f"/services/{name}").body
        assert before["ID"] == made, f"{name} was answered with {made} and is {before['ID']}"
        self._ask("POST", f"/services/{made}/update?version={before['Version']['Index']}", {**spec, "Labels": {"edited": "1"}})
        if keep:
            self.kept[name] = made
        else:
            self._ask("DELETE", f"/services/{made}")

    def _ask(self, verb: str, path: str, body: object = None) -> Answered:
        answer = ask(self._daemon, verb, path, body)
        assert answer.status in (200, 201), f"{verb} {path} was answered {answer.status} {answer.message}"
        return answer


def test_what_is_asked_while_a_leader_dies_is_done_once_and_answered_as_done(cluster: Cluster) -> None:
    patience(cluster.daemons["m1"], "5s")
    for number in range(3):
        leader = cluster.leader()
        survivors = managers_but(cluster, leader)
        with Editor(survivors[0], f"a{number}") as one, Editor(survivors[1], f"b{number}") as two:
            _wait_edits(one, two, more=5)
            leader.kill()
            _wait_edits(one, two, more=5)
        assert one.surprises + two.surprises == []
        leader.start()
        wait_until(lambda leader=leader: leader.get("/nodes") and len(reachable(leader)) == 3, what="it is a manager again")
        for daemon in (leader, *survivors):
            rows = daemon.get(filtered("/services", name=(f"a{number}-", f"b{number}-")))
            assert {row["Spec"]["Name"]: row["ID"] for row in rows} == one.kept | two.kept
            assert len(rows) == len(one.kept) + len(two.kept), "no name is there twice"
            assert {row["Spec"]["Labels"].get("edited") for row in rows} == {"1"}


def _wait_edits(*editors: Editor, more: int) -> None:
    goals = [(editor, editor.done + more) for editor in editors]
    wait_until(lambda: all(editor.done >= goal or editor.surprises for editor, goal in goals), what=f"{more} edits each")


def test_an_announced_absence_outlives_the_leader_that_heard_of_it(cluster: Cluster) -> None:
    """One worker and one manager are away for longer than three heartbeats while leadership changes hands, with a word and without."""
    manager, away = cluster.daemons["m1"], cluster.daemons["w1"]
    patience(manager, "1s")
    create(manager, "web", "--replicas", "4", "--constraint", "node.role==worker")
    manager.wait_running("web", 4)
    before = running(cluster)
    away.stop()
    first = cluster.leader()
    first.stop()  # hands over
    survivors = managers_but(cluster, first)
    _stays_ready(survivors[0], away, first, seconds=6)
    first.start()
    wait_until(lambda: len(reachable(survivors[0])) == 3, what="three managers again")
    second = cluster.leader()
    asked = managers_but(cluster, second)[0]
    second.kill()
    second.start()
    _stays_ready(asked, away, seconds=6)
    away.start()
    wait_until(lambda: local_state(away) == "active", what="it is back")
    wait_until(lambda: {task["ID"] for task in asked.tasks("web")} == {one.task for one in before}, what="the same tasks run")
    assert running(cluster) == before
    patience(asked, "5s")


def _stays_ready(asked: Daemon, *daemons: Daemon, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert [state_of(asked, daemon.name) for daemon in daemons] == ["ready"] * len(daemons)
        time.sleep(0.25)
