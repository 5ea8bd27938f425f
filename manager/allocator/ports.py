"""Published ports: those that were asked for, if no other service has them, and free ones between 30000 and 32767. Pure."""

from collections.abc import Iterable

from msgspec.structs import replace

from cluster.api.ids import Id
from cluster.api.objects import Service
from cluster.api.specs import PortConfig
from manager.store.indexes import PortKey
from manager.store.snapshot import Snapshot

DYNAMIC = range(30000, 32768)

INGRESS = "ingress"


class NoPort(Exception):
    """A port cannot be had; the text says why."""


class PortDesk:
    """Hands out ports during one round."""

    def __init__(self, now: Snapshot) -> None:
        self._now = now
        self._given: dict[PortKey, Id] = {}

    def ports_for(self, service: Service, asked: Iterable[PortConfig]) -> tuple[PortConfig, ...]:
        """The ingress ports with their numbers; what the service has already stays. Raises NoPort, and then has given none.

        Ports in host mode are the tasks' own: the scheduler sees that they are free, the engine opens them.
        """
        before = dict(self._given)
        try:
            return tuple(self._resolve(service, port) for port in ingress(asked))
        except NoPort:
            self._given = before
            raise

    def _resolve(self, service: Service, port: PortConfig) -> PortConfig:
        protocol = port.protocol or "tcp"
        if port.published_port:
            number = port.published_port
            if (owner := self._owner((protocol, number), service.id)) is not None:
                raise NoPort(f"port '{number}/{protocol}' is already in use by {self._called(owner)} as an ingress port")
        else:
            number = self._dynamic(service, protocol, port.target_port)
        self._given[(protocol, number)] = service.id
        return replace(port, protocol=protocol, published_port=number, publish_mode=INGRESS)

    def _dynamic(self, service: Service, protocol: str, target: int) -> int:
        held = () if service.endpoint is None else service.endpoint.ports
        for port in held:
            key = (port.protocol, port.published_port)
            same = (port.protocol, port.target_port, port.publish_mode) == (protocol, target, INGRESS)
            if same and port.published_port in DYNAMIC and key not in self._given and self._owner(key, service.id) is None:
                return port.published_port
        for number in DYNAMIC:
            key = (protocol, number)
            if key not in self._given and not self._now.port_owners(INGRESS, key) and not self._now.port_owners("host", key):
                return number
        raise NoPort(f"no port of {DYNAMIC.start}-{DYNAMIC.stop - 1} is free for {target}/{protocol}")

    def _owner(self, key: PortKey, service_id: Id) -> Id | None:
        """Another service that has the port: who was given it, not who merely asks too."""
        given = self._given.get(key)
        if given is not None and given != service_id:
            return given
        for other_id in self._now.port_owners(INGRESS, key):
            other = self._now.services.get(other_id)
            if other_id != service_id and other is not None and _was_given(other, key):
                return other_id
        return None

    def _called(self, service_id: Id) -> str:
        service = self._now.services.get(service_id)
        return f"service '{service_id if service is None else service.spec.name}' ({service_id})"


def ingress(ports: Iterable[PortConfig]) -> list[PortConfig]:
    return [port for port in ports if (port.publish_mode or INGRESS) == INGRESS]


def _was_given(service: Service, key: PortKey) -> bool:
    ports = () if service.endpoint is None else service.endpoint.ports
    return any((port.protocol, port.published_port) == key and port.publish_mode == INGRESS for port in ports)
