"""Equal states have one digest, however their frames came to be; any difference shows."""

from msgspec.structs import replace

from cluster.api.objects import Config, Node
from cluster.api.specs import ConfigSpec, NodeSpec
from cluster.api.state_digest import StateDigest
from manager.store import frames
from manager.store.snapshot import Snapshot
from manager.store.tables import Map, TableDraft


def snapshot(*names: str, node: Node) -> Snapshot:
    configs: TableDraft[str, Config] = TableDraft(Map())
    for name in names:
        configs.set(name, Config(id=name, spec=ConfigSpec(name=name, data=b"x" * 1000)))
    nodes: TableDraft[str, Node] = TableDraft(Map())
    nodes.set(node.id, node)
    return Snapshot(version=9, configs=configs.finish(), nodes=nodes.finish())


def digest(now: Snapshot) -> str:
    taken = StateDigest()
    for frame in frames.encode(now):
        taken.take(frame)
    return taken.hexdigest()


NODE = Node(id="n", spec=NodeSpec(labels={"a": "1", "b": "2"}))
NAMES = [f"name-{number}" for number in range(3000)]


def test_order_and_the_cutting_into_frames_make_no_difference() -> None:
    other = replace(NODE, spec=NodeSpec(labels={"b": "2", "a": "1"}))
    assert digest(snapshot(*NAMES, node=NODE)) == digest(snapshot(*reversed(NAMES), node=other))


def test_any_difference_shows() -> None:
    base = snapshot(*NAMES, node=NODE)
    others = (
        replace(base, version=10),
        replace(base, requests_seen=1),
        snapshot(*NAMES[1:], node=NODE),
        snapshot(*NAMES, node=replace(NODE, updated_at=1)),
        snapshot(*NAMES, node=replace(NODE, spec=NodeSpec(labels={"a": "1"}))),
    )
    assert len({digest(one) for one in (base, *others)}) == 6
