"""Clients that use a cluster while it is hurt: each asks any manager, tries again elsewhere, and remembers all that it was told.

Half of what they write has names of its own and is tried until it is acknowledged: none of it may ever be missing. The other half are
creations, readings and removals of a few names that all of them share.
"""

import http.client
import threading
import time
from base64 import b64encode
from collections.abc import Sequence
from itertools import pairwise
from math import inf
from random import Random
from secrets import token_hex
from types import TracebackType

from integration.cluster_rig import Daemon
from integration.histories import CREATED, EXISTED, LACKED, REMOVED
from integration.witness import Answered, ask
from tests.sim.linearizability import Operation

SHARED = 6
"""Names that all clients use, anew in each round."""
PAUSE = 0.03
TIMEOUT = 1.5
"""Seconds; then they ask another manager, as a client in a hurry would."""
_SAID = {201: CREATED, 409: EXISTED, 204: REMOVED, 404: LACKED}


class Clients:
    """Threads that work as long as the block runs. Their schedule comes from `seed`; what they meet does not."""

    def __init__(self, managers: Sequence[Daemon], *, seed: int, count: int = 8) -> None:
        self._managers = managers
        self._stop = threading.Event()
        self._run = token_hex(4)
        """Part of every name: other clients may have used this cluster before, with names that still stand for something."""
        self._threads = [threading.Thread(target=self._work, args=(number, Random(f"{seed}/{number}"))) for number in range(count)]
        self.round = 0
        self.acknowledged: list[str] = []
        self.history: list[Operation] = []
        self.refusals: list[str] = []
        self.slowest = 0.0
        """Seconds from the first try of a write to its acknowledgement."""
        self.moments: list[float] = []
        """When a request was answered as it should (monotonic)."""

    def __enter__(self) -> "Clients":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def longest_gap(self, since: float) -> float:
        """Seconds in which nobody was answered, since then."""
        moments = sorted([since, *(moment for moment in list(self.moments) if moment > since), time.monotonic()])
        return max(after - before for before, after in pairwise(moments))

    def _work(self, number: int, rng: Random) -> None:
        count = 0
        while not self._stop.is_set():
            if rng.random() < 0.5:
                self._keep(f"kept-{self._run}-{number}-{count}", rng)
                count += 1
            else:
                self._share(str(number), f"shared-{self._run}-{self.round}-{rng.randrange(SHARED)}", f"{number}-{rng.random()}", rng)
            self._stop.wait(PAUSE)

    def _keep(self, name: str, rng: Random) -> None:
        """Until it is acknowledged: at the second try it may be there already."""
        tries, begun = 0, time.monotonic()
        while not self._stop.is_set():
            answer = self._ask(rng.choice(self._managers), "POST", "/configs/create", {"Name": name, "Data": "eA=="})
            if answer is not None and (answer.status == 201 or (tries and answer.status == 409)):
                self.acknowledged.append(name)
                self.slowest = max(self.slowest, time.monotonic() - begun)
                return
            tries += 1
            self._stop.wait(PAUSE)

    def _share(self, client: str, name: str, value: str, rng: Random) -> None:
        manager, verb = rng.choice(self._managers), rng.choice(("create", "create", "read", "read", "remove"))
        content = b64encode(value.encode()).decode() if verb == "create" else ""
        began = time.monotonic()
        match verb:
            case "create":
                said = self._ask(manager, "POST", "/configs/create", {"Name": name, "Data": content})
            case "read":
                said = self._ask(manager, "GET", f"/configs/{name}")
            case _:
                said = self._ask(manager, "DELETE", f"/configs/{name}")
        is_known, answer = _heard(said)
        if is_known or verb != "read":
            ended = time.monotonic() if is_known else inf
            self.history.append(Operation(client=client, key=name, call=(verb, content), answer=answer, began=began, ended=ended))

    def _ask(self, manager: Daemon, verb: str, path: str, body: object = None) -> Answered | None:
        """None if it is unknown what came of it."""
        try:
            answer = ask(manager, verb, path, body, timeout=TIMEOUT)
        except (OSError, http.client.HTTPException):
            return None
        if answer.status >= 500:
            self.refusals.append(f"{manager.name}: {answer.status} {answer.message}")
            return None
        self.moments.append(time.monotonic())
        return answer


def _heard(said: Answered | None) -> tuple[bool, str | None]:
    """Whether an answer says what came of a request for a shared name, and what that is."""
    match said:
        case Answered(status=200, body=body):
            return True, body["Spec"]["Data"]
        case Answered(status=status) if status in _SAID:
            return True, _SAID[status]
        case _:
            return False, None
