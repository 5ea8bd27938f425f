"""`/metrics`: Prometheus text of this node's manager and worker, collected when asked."""

from collections.abc import Callable, Iterator, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from cluster.api.errors import NotFound
from cluster.api.states import NodeState, TaskState
from manager.raft.config import RaftStatus
from manager.store.snapshot import Snapshot
from node_agent.api.backend import LocalState
from node_agent.api.exchange import Exchange
from node_agent.api.messages import ApiRequest, ApiResponse, PassToEngine
from node_agent.api.routing import Route

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class SwarmCollector(Collector):
    """What the store and Raft say; nothing on a node that is no manager."""

    def __init__(self, snapshot: Callable[[], Snapshot | None], raft: Callable[[], RaftStatus | None]) -> None:
        self._snapshot = snapshot
        self._raft = raft

    def collect(self) -> Iterator[GaugeMetricFamily]:
        now, raft = self._snapshot(), self._raft()
        yield GaugeMetricFamily("shoal_manager", "Whether this node is a manager.", value=now is not None)
        if now is not None:
            yield from _store_metrics(now)
        if raft is not None:
            yield GaugeMetricFamily("shoal_raft_is_leader", "Whether this manager leads.", value=raft.leader == raft.id)
            yield GaugeMetricFamily("shoal_raft_term", "Raft term.", value=raft.term)
            yield GaugeMetricFamily("shoal_raft_commit_index", "Last committed entry.", value=raft.commit)
            yield GaugeMetricFamily("shoal_raft_applied_index", "Last applied entry.", value=raft.applied)
            yield GaugeMetricFamily("shoal_raft_waiting_proposals", "Proposals not yet applied.", value=raft.waiting)
            stuck = raft.storage_problem is not None
            yield GaugeMetricFamily("shoal_raft_storage_problem", "Whether the Raft log's disk is full or does not answer.", value=stuck)
            yield GaugeMetricFamily("shoal_event_loop_stalls", "Times the event loop was silent for over 100 ms.", value=raft.stalls)


def _store_metrics(now: Snapshot) -> Iterator[GaugeMetricFamily]:
    yield GaugeMetricFamily("shoal_services", "Services.", value=len(now.services))
    yield GaugeMetricFamily("shoal_networks", "Networks of the cluster.", value=len(now.networks))
    yield GaugeMetricFamily("shoal_secrets", "Secrets.", value=len(now.secrets))
    yield GaugeMetricFamily("shoal_configs", "Configs.", value=len(now.configs))
    if now.cluster is not None:
        yield GaugeMetricFamily("shoal_feature_level", "What all managers can apply.", value=now.cluster.feature_level)
    nodes = GaugeMetricFamily("shoal_nodes", "Nodes by state.", labels=["state"])
    for node_state in NodeState:
        nodes.add_metric([node_state.value], sum(node.status.state is node_state for node in now.nodes.values()))
    yield nodes
    tasks = GaugeMetricFamily("shoal_tasks", "Tasks by observed state.", labels=["state"])
    counts = dict.fromkeys(TaskState, 0)
    for task in now.tasks.values():
        counts[task.state] += 1
    for state, count in counts.items():
        tasks.add_metric([state.wire], count)
    yield tasks


class NodeCollector(Collector):
    """What this machine says of itself, manager or worker or neither."""

    def __init__(self, version: str, state: Callable[[], LocalState], live_tasks: Callable[[], int]) -> None:
        self._version = version
        self._state = state
        self._live_tasks = live_tasks

    def collect(self) -> Iterator[GaugeMetricFamily]:
        build = GaugeMetricFamily("shoal_build", "1, with the version as label.", labels=["version"])
        build.add_metric([self._version], 1)
        yield build
        state = GaugeMetricFamily("shoal_node_state", "1 for the state that this node is in.", labels=["state"])
        for one in LocalState:
            state.add_metric([one.value], one is self._state())
        yield state
        yield GaugeMetricFamily("shoal_node_live_tasks", "Tasks on this node that have not ended.", value=self._live_tasks())


class NothingElse:
    """Stands for the engine where only /metrics is served: nobody comes to it that way."""

    async def pass_on(self, exchange: Exchange, request: ApiRequest, passed: PassToEngine) -> None:  # noqa: ARG002 - the port's signature
        raise NotFound("page not found: only /metrics is served here")


class Metrics:
    """The noun's handler."""

    def __init__(self, collectors: Sequence[Collector]) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        for collector in collectors:
            self._registry.register(collector)

    def routes(self) -> Sequence[Route]:
        return (Route("GET", "/metrics", self.show),)

    async def show(self, _: ApiRequest) -> ApiResponse:
        return ApiResponse(body=generate_latest(self._registry), content_type=CONTENT_TYPE)
