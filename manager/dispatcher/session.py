"""One node's session, the leader's side: what the node has been told, what it should hear next. No I/O but waking its sender.

Nothing is queued for a slow node: messages are worked out when it is ready to take them, from the latest snapshot. So a node that does
not read costs the memory of what it missed, by id, and hears once of what changed ten times.
"""

from collections import deque
from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace

from cluster.aio.latest import Latest
from cluster.api.assignment import (
    Assignments,
    Described,
    EndpointsSettled,
    Hello,
    LogOrder,
    ManagerAddr,
    ManagersChanged,
    ReachOrder,
    StatusesTaken,
    ToNode,
)
from cluster.api.endpoint import EndpointUpdate
from cluster.api.errors import ShoalError, Unavailable
from cluster.api.ids import Id
from cluster.api.states import Role
from manager.dispatcher import assign, endpoints
from manager.dispatcher.assign import Share
from manager.dispatcher.chunks import assignment_parts, endpoint_parts
from manager.dispatcher.endpoints import Plane, Views

MOST_ORDERS = 1000
"""Orders for streams that wait for one node."""


class Surroundings(Struct, frozen=True, kw_only=True, gc=False):
    """What all sessions see alike."""

    views: Views
    managers: tuple[ManagerAddr, ...]
    roots: str
    """The CAs to trust, PEM."""
    settled: int
    """The endpoint version that every ready node has."""


class Told:
    """What a node was told, and what it has not been told yet. It outlives a session that breaks."""

    def __init__(self) -> None:
        self.share: Share | None = None
        self.plane: Plane | None = None
        self.plane_version = 0
        """Of the last update of endpoints."""
        self.tasks: set[Id] = set()
        self.services: set[Id] = set()
        self.is_stale = True
        """There is something that this node has not been told."""
        self.stale_since = 0
        self.unacknowledged: deque[int] = deque()

    def has_come(self, hello: Hello) -> bool:
        """The node has all of it."""
        share = self.share
        return share is not None and (share.version, self.plane_version) == (hello.assignment_version, hello.endpoint_version)


class NodeSession:
    def __init__(self, session_id: Id, node_id: Id, hello: Hello) -> None:
        self.id = session_id
        self.node_id = node_id
        self.hello = hello
        self.stirred = Latest(0)
        """Changes whenever there may be something to send."""
        self.error: ShoalError | None = None
        self.is_over = False
        self.told = Told()
        self._taken = 0
        self._taken_said = 0
        self._stops: set[int] = set()
        """Endpoint versions that tasks here wait for before they stop."""
        self._orders: deque[LogOrder | ReachOrder] = deque()
        self._greeting: tuple[tuple[ManagerAddr, ...], str, Role] | None = None

    def resume(self, former: "NodeSession") -> None:
        """Go on from where the node's last session broke, if what that told has come; otherwise everything is told again."""
        if former.told.has_come(self.hello) and former.told.share is not None:
            self.told = former.told
            self._stops = {task.endpoint_version for task in former.told.share.tasks.values() if task.endpoint_version}

    # -- what happened -----------------------------------------------------------------------------------------------------------------
    def stir(self) -> None:
        self.stirred.set(self.stirred.value + 1)

    def fail(self, error: ShoalError) -> None:
        """The session ends with this error."""
        self.error = self.error or error
        self.stir()

    def finish(self) -> None:
        """The node ended it."""
        self.is_over = True
        self.stir()

    def greeted(self, around: Surroundings, role: Role) -> None:
        """The Welcome said so."""
        self._greeting = around.managers, around.roots, role

    def described(self, message: Described) -> None:
        self.hello = replace(self.hello, description=message.description)

    def begin_anew(self, version: int) -> None:
        """It is not known what changed: tell everything again."""
        self.told.share = self.told.plane = None
        self._stale(version)

    def touch(self, *, tasks: Iterable[Id], services: Iterable[Id], before: int) -> None:
        """These may have changed since version `before`."""
        self.told.tasks.update(tasks)
        self.told.services.update(services)
        self._stale(before)

    def _stale(self, before: int) -> None:
        if not self.told.is_stale:
            self.told.is_stale, self.told.stale_since = True, before
        self.stir()

    def met(self, services: frozenset[Id], views: Views) -> frozenset[Id]:
        """Those of these services that the node was told of, or should be."""
        if self.told.plane is None:
            return frozenset()
        known = services & self.told.plane.services.keys()
        networks = self.told.plane.networks
        return known | {one for one in services - known if views.concerns(one, networks)}

    def is_on(self, networks: frozenset[Id]) -> bool:
        return self.told.plane is not None and not networks.isdisjoint(self.told.plane.networks)

    def taken(self, sequence: int) -> None:
        """The statuses up to this message are committed."""
        self._taken = max(self._taken, sequence)
        self.stir()

    def acknowledged(self, version: int) -> None:
        """The node's kernel holds the endpoints of this version."""
        while self.told.unacknowledged and self.told.unacknowledged[0] <= version:
            self.told.unacknowledged.popleft()

    def order(self, order: LogOrder | ReachOrder) -> None:
        if len(self._orders) >= MOST_ORDERS:
            raise Unavailable(f"node {self.node_id} has {MOST_ORDERS} orders waiting and takes no more")
        self._orders.append(order)
        self.stir()

    def holds_through(self, version: int) -> int:
        """Up to which version the node's kernel surely holds the endpoints, when the store is at `version`."""
        if self.told.is_stale:
            version = min(version, self.told.stale_since)
        return min(version, self.told.unacknowledged[0] - 1) if self.told.unacknowledged else version

    # -- what to send ------------------------------------------------------------------------------------------------------------------
    def messages(self, around: Surroundings, role: Role) -> list[ToNode]:
        """Everything that the node should hear now; it counts as told."""
        messages: list[ToNode] = []
        if self._taken > self._taken_said:
            self._taken_said = self._taken
            messages.append(StatusesTaken(sequence=self._taken))
        if self.told.is_stale:
            messages += self._news(around.views)
        if self._stops and min(self._stops) <= around.settled:
            self._stops = {version for version in self._stops if version > around.settled}
            messages.append(EndpointsSettled(version=around.settled))
        if (around.managers, around.roots, role) != self._greeting:
            self._greeting = around.managers, around.roots, role
            messages.append(ManagersChanged(managers=around.managers, role=role, roots=around.roots))
        messages += self._orders
        self._orders.clear()
        return messages

    def _news(self, views: Views) -> list[ToNode]:
        """Assignments first: a task brings its networks along, and a task told to stop is out of the endpoints that follow."""
        version, messages = views.now.version, list[ToNode]()
        tasks, services = self.told.tasks, self.told.services
        self.told.tasks, self.told.services, self.told.is_stale = set(), set(), False
        assignments: Assignments | None
        update: EndpointUpdate | None
        if self.told.share is None:
            self.told.share, assignments = assign.complete(views.now, self.node_id, version=version)
        else:
            self.told.share, assignments = assign.step(views.now, self.node_id, self.told.share, tasks, version=version)
        if assignments is not None:
            self._stops |= {task.endpoint_version for task in assignments.tasks if task.endpoint_version}
            messages += assignment_parts(assignments)
        if self.told.plane is None:
            self.told.plane, update = endpoints.complete(views, self.node_id)
        else:
            self.told.plane, update = endpoints.step(views, self.node_id, self.told.plane, services, moved=True)
        if update is not None:
            self.told.plane_version = update.version
            self.told.unacknowledged.append(update.version)
            messages += endpoint_parts(update)
        return messages
