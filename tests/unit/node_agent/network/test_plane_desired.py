"""What a node's kernel must hold, decided from what the node knows."""

import msgspec

from cluster.api.endpoint import Backend, DataKey, EndpointUpdate, OverlayNetwork, Peer, ServiceEndpoint, ServiceNetwork
from cluster.api.specs import PortConfig
from node_agent.network.desired import Desired, desired
from node_agent.network.gathered import NOTHING_GATHERED, Gathered, Gatherer
from node_agent.network.ingress import Published
from node_agent.network.names import zone_of
from node_agent.network.ports import BridgeNetwork
from node_agent.network.view import Known, LocalTask, View, merge, serve, with_task, with_view, without_task
from node_agent.network.vip import Choice, Way, way

NET = OverlayNetwork(network_id="net1".ljust(25, "0"), name="shop", subnet="10.0.1.0/24", gateway="10.0.1.1", vni=4097)
INNER = OverlayNetwork(network_id="net2".ljust(25, "0"), name="inner", subnet="10.0.2.0/24", gateway="10.0.2.1", vni=4098, internal=True)
PEERS = tuple(Peer(node_id=f"node{n}", number=n, addr=f"192.0.2.{n}", hostname=f"host{n}") for n in (1, 2, 3))


def backend(task: str, node: int, *, ready: bool = True, **addresses: str) -> Backend:
    by_id = {NET.network_id if name == "net" else INNER.network_id: address for name, address in addresses.items()}
    return Backend(task_id=task, node_id=f"node{node}", ready=ready, addresses=by_id, container_name=f"web.{task}.{task}")


def service(*backends: Backend, vip: str = "10.0.1.100", ports: tuple[PortConfig, ...] = (), dnsrr: bool = False) -> ServiceEndpoint:
    there = ServiceNetwork(network_id=NET.network_id, vip="" if dnsrr else vip, aliases=("web",))
    return ServiceEndpoint(service_id="svc1", name="shop_web", networks=(there,), ports=ports, backends=backends, dnsrr=dnsrr)


def local(task: str, pid: int = 7, **changes: object) -> LocalTask:
    own = LocalTask(task_id=task, service_id="svc1", addresses={NET.network_id: "10.0.1.2"}, pid=pid, namespace=pid)
    return msgspec.structs.replace(own, **changes)


def known(*services: ServiceEndpoint, tasks: tuple[LocalTask, ...] = ()) -> Known:
    update = EndpointUpdate(
        version=5, complete=True, peers=PEERS, networks=(NET, INNER), services=services, ingress_subnet="10.96.0.0/20", vxlan_port=4790
    )
    return Known(view=merge(View(), update), tasks={task.task_id: task for task in tasks})


def want(state: Known) -> Desired:
    return desired(state, gathered(state), node_id="node1", underlay_mtu=1500)


def gathered(state: Known) -> Gathered:
    return Gatherer().gather(state, PEERS[0])


def published(state: Known) -> tuple[Published, ...]:
    return gathered(state).published


def ways(state: Known, task: str) -> dict[str, Way]:
    return {vip: way for those in want(state).sandboxes[task].on for vip, way in those.ways.held.items()}


def test_nothing_is_touched_while_this_node_is_not_among_the_peers() -> None:
    assert desired(Known(tasks={"t": local("t")}), NOTHING_GATHERED, node_id="node1", underlay_mtu=1500) == Desired()


def test_an_overlay_is_there_from_its_first_local_task_on_with_the_tasks_of_other_nodes_behind_it() -> None:
    web = service(backend("a", 1, net="10.0.1.2"), backend("b", 2, net="10.0.1.3"), backend("c", 3, ready=False, net="10.0.1.4"))
    assert set(want(known(web)).tunnels) == {"shoal_link"}
    tunnel = want(known(web, tasks=(local("a"),))).tunnels["sv-net100000000"]
    assert tunnel.entries == {"10.0.1.3": "192.0.2.2", "10.0.1.4": "192.0.2.3"}, "one that is not ready may speak already"
    assert (tunnel.vni, tunnel.local, tunnel.port, tunnel.mtu) == (4097, "192.0.2.1", 4790, 1450)
    assert tunnel.bridge == "sb-net100000000"


def test_the_node_link_leads_to_every_other_node_by_its_number() -> None:
    wanted = want(known())
    link = wanted.tunnels["shoal_link"]
    assert (link.address, link.prefix) == ("10.96.0.1", 20)
    assert link.entries == {"10.96.0.2": "192.0.2.2", "10.96.0.3": "192.0.2.3"}
    assert wanted.return_paths == {2: "10.96.0.2", 3: "10.96.0.3"}


def test_a_sandbox_holds_the_vips_of_its_own_networks_and_their_ready_backends() -> None:
    web = service(backend("a", 1, net="10.0.1.2"), backend("b", 2, net="10.0.1.3"), backend("c", 2, ready=False, net="10.0.1.4"))
    state = known(web, tasks=(local("a"), local("x", addresses={INNER.network_id: "10.0.2.2"})))
    assert ways(state, "a") == {"10.0.1.100": way("10.0.1.100", Choice(ready=("10.0.1.2", "10.0.1.3")))}
    assert ways(state, "x") == {}


def test_tasks_on_the_same_networks_share_one_table() -> None:
    wanted = want(known(service(), tasks=(local("a"), local("b"))))
    assert wanted.sandboxes["a"] is wanted.sandboxes["b"]


def test_a_task_that_does_not_run_has_no_sandbox_to_program() -> None:
    assert want(known(service(), tasks=(local("a", pid=0),))).sandboxes == {}


def test_a_withdrawn_task_is_out_of_everything_whatever_the_managers_say() -> None:
    web = service(
        backend("a", 1, net="10.0.1.2"), backend("b", 2, net="10.0.1.3"), ports=(PortConfig(published_port=8080, target_port=80),)
    )
    state = known(web, tasks=(local("a", withdrawn=True),))
    assert ways(state, "a") == {"10.0.1.100": way("10.0.1.100", Choice(ready=("10.0.1.3",)))}
    assert (published(state)[0].local, published(state)[0].leaving) == ((), ("10.0.1.2",)), "others may send it more for a moment"
    names = (
        zone_of(state, gathered(state), gateways={NET.network_id: "10.0.1.1"}, programmed=())
        .networks[NET.network_id]
        .services["svc1"]
        .names
    )
    assert names["tasks.shop_web"].tasks == ("10.0.1.3",)


def test_a_published_port_leads_to_local_tasks_and_to_other_nodes_by_weight() -> None:
    ports = (PortConfig(published_port=8080, target_port=80), PortConfig(published_port=9, target_port=9, publish_mode="host"))
    web = service(backend("a", 1, net="10.0.1.2"), backend("b", 2, net="10.0.1.3"), backend("c", 2, net="10.0.1.4"), ports=ports)
    (port,) = published(known(web, tasks=(local("a"),)))
    assert (port.protocol, port.port, port.target) == ("tcp", 8080, 80)
    assert (port.local, dict(port.remote)) == (("10.0.1.2",), {"10.96.0.2": 2})


def test_a_task_that_ended_here_is_out_until_the_managers_know_of_it_too() -> None:
    both = service(
        backend("a", 1, net="10.0.1.2"), backend("b", 2, net="10.0.1.3"), ports=(PortConfig(published_port=8080, target_port=80),)
    )
    other = local("x", service_id="svc2")
    ended = without_task(known(both, tasks=(local("a"), other)), "a")
    assert ways(ended, "x")["10.0.1.100"].choice.ready == ("10.0.1.3",)
    assert published(ended)[0].entering == {"10.96.0.2"}
    unaware = with_view(ended, merge(ended.view, EndpointUpdate(version=6, services=(both,))))
    assert ways(unaware, "x")["10.0.1.100"].choice.ready == ("10.0.1.3",)
    aware = with_view(ended, merge(ended.view, EndpointUpdate(version=7, services=(service(backend("b", 2, net="10.0.1.3")),))))
    assert aware.ended == {}
    assert without_task(known(tasks=(local("a"),)), "a").ended == {}, "nobody lists it"


def test_a_service_that_prefers_local_tasks_uses_the_others_when_it_has_none() -> None:
    web = service(
        backend("a", 1, net="10.0.1.2"), backend("b", 2, net="10.0.1.3"), ports=(PortConfig(published_port=8080, target_port=80),)
    )
    near = msgspec.structs.replace(web, prefer_local=True)
    state = known(near, tasks=(local("a"),))
    assert ways(state, "a")["10.0.1.100"].choice.among == ("10.0.1.2",)
    assert published(state)[0].entering == {"10.0.1.2"}
    gone = known(near, tasks=(local("a", withdrawn=True),))
    assert ways(gone, "a")["10.0.1.100"].choice.among == ("10.0.1.3",)
    assert published(gone)[0].entering == {"10.96.0.2"}
    assert published(known(web, tasks=(local("a"),)))[0].entering == {"10.0.1.2", "10.96.0.2"}


def test_a_service_with_affinity_tells_where_each_of_its_tasks_is_reached_from_here() -> None:
    ports = (PortConfig(published_port=8080, target_port=80),)
    web = service(backend("a", 1, net="10.0.1.2"), backend("b", 2, net="10.0.1.3"), backend("c", 2, net="10.0.1.4"), ports=ports)
    (port,) = published(known(msgspec.structs.replace(web, affinity="client-ip"), tasks=(local("a"),)))
    assert port.clients == {"a": "10.0.1.2", "b": "10.96.0.2", "c": "10.96.0.2"}
    assert published(known(web, tasks=(local("a"),)))[0].clients == {}


def test_a_task_that_no_network_leads_out_of_is_reached_over_the_gateway_bridge() -> None:
    web = service(backend("a", 1, inner="10.0.2.2"), ports=(PortConfig(published_port=8080, target_port=80),))
    task = local("a", addresses={INNER.network_id: "10.0.2.2"}, uses_gateway=True, gateway_address="172.18.0.2")
    assert published(known(web, tasks=(task,)))[0].local == ("172.18.0.2",)
    assert published(known(web, tasks=(msgspec.structs.replace(task, gateway_address=""),)))[0].local == ()


def test_clients_on_the_gateway_bridge_are_inside_too() -> None:
    bridge = BridgeNetwork(name="shoal_gw", bridge="shoal_gw", subnet="172.18.0.0/16", gateway="172.18.0.1")
    table = desired(known(), NOTHING_GATHERED, node_id="node1", underlay_mtu=1500, gateway=bridge).node_table
    assert table is not None
    assert "172.18.0.0/16" in table.lookups["inside"].elements


# -- the view --------------------------------------------------------------------------------------------------------------------------
def test_an_update_changes_only_what_it_lists() -> None:
    before = known(service()).view
    other = ServiceEndpoint(service_id="svc2", name="db")
    after = merge(before, EndpointUpdate(version=6, services=(other,)))
    assert (after.version, set(after.services), after.peers, after.networks) == (6, {"svc1", "svc2"}, before.peers, before.networks)
    assert (after.vxlan_port, after.ingress_subnet) == (4790, "10.96.0.0/20")
    assert set(merge(after, EndpointUpdate(version=7, gone_services=("svc1",))).services) == {"svc2"}


def test_a_complete_update_forgets_what_it_does_not_name() -> None:
    after = merge(known(service()).view, EndpointUpdate(version=6, complete=True))
    assert (after.services, after.peers, after.networks, after.vxlan_port) == ({}, {}, {}, 4789)


def test_a_network_that_came_with_a_task_stays_until_its_last_task_goes() -> None:
    state = with_task(with_task(serve(Known(), [NET, INNER]), local("a")), local("b"))
    state = without_task(state, "a")
    assert set(state.networks) == {NET.network_id}
    assert without_task(state, "b").networks == {}


# -- names -----------------------------------------------------------------------------------------------------------------------------
def test_the_zone_has_services_aliases_tasks_and_containers_of_the_networks_that_are_here() -> None:
    web = service(backend("a", 1, net="10.0.1.2"), backend("b", 2, ready=False, net="10.0.1.3"))
    zone = zone_of(known(web), gathered(known(web)), gateways={NET.network_id: "10.0.1.1"}, programmed=())
    there = zone.networks[NET.network_id].services["svc1"]
    assert set(there.names) == {"shop_web", "web", "tasks.shop_web", "tasks.web", "web.a.a", "web.b.b"}
    assert (there.names["web"].vips, there.names["web"].tasks) == (("10.0.1.100",), ("10.0.1.2",))
    assert there.names["web.b.b"].tasks == ("10.0.1.3",)
    assert there.pointers["10.0.1.100"] == "shop_web"
    assert zone_of(known(web), gathered(known(web)), gateways={}, programmed=()).networks == {}


def test_a_network_that_came_ahead_of_the_endpoints_has_no_names_to_deny() -> None:
    state = serve(Known(tasks={"a": local("a")}), [NET])
    assert not zone_of(state, NOTHING_GATHERED, gateways={NET.network_id: "10.0.1.1"}, programmed=()).networks[NET.network_id].told
    assert zone_of(known(), NOTHING_GATHERED, gateways={NET.network_id: "10.0.1.1"}, programmed=()).networks[NET.network_id].told


def test_a_caller_is_held_until_its_vips_are_programmed_and_forwarded_for_if_it_gets_out() -> None:
    tasks = (local("a"), local("b"), local("c", addresses={INNER.network_id: "10.0.2.2"}))
    gateways = {NET.network_id: "10.0.1.1", INNER.network_id: "10.0.2.1"}
    zone = zone_of(known(tasks=tasks), NOTHING_GATHERED, gateways=gateways, programmed={"a"})
    assert [(caller.held, caller.outbound) for caller in zone.callers] == [(False, True), (True, True), (True, False)]


# -- encrypted overlays ----------------------------------------------------------------------------------------------------------------
SECRET = msgspec.structs.replace(NET, options={"encrypted": ""})


def test_an_encrypted_overlay_has_no_vxlan_device_that_anything_could_leave_by_in_the_clear() -> None:
    web = service(backend("a", 1, net="10.0.1.2"), backend("b", 2, net="10.0.1.3"))
    plain = known(web, tasks=(local("a"),))
    assert want(plain).encryption is None
    state = msgspec.structs.replace(plain, view=msgspec.structs.replace(plain.view, networks={NET.network_id: SECRET}))
    wanted = want(state)
    assert set(wanted.tunnels) == {"sc-net100000000", "shoal_link"}
    assert wanted.tunnels["sc-net100000000"].mtu == 1412, "28 of IP and UDP, 32 of ours, 28 around what the MTU counts"
    plan = wanted.encryption
    assert plan is not None
    assert (plan.me.number, plan.port, plan.mtu, [peer.address for peer in plan.peers]) == (1, 4791, 1500, ["192.0.2.2", "192.0.2.3"])
    assert [(one.device, one.vni, one.entries) for one in plan.networks] == [("sc-net100000000", 4097, {"10.0.1.3": "192.0.2.2"})]
    assert wanted.node_table is not None
    rules = wanted.node_table.chains["c_tunnel"].rules
    assert "4097" not in rules[0], "the kernel has no device for it, and takes such packets from nobody"
    assert rules[1] == "udp dport 4791 ip saddr != @nodes drop"


def test_keys_are_no_part_of_what_is_written_down() -> None:
    update = EndpointUpdate(version=5, complete=True, data_keys=(DataKey(id=1, key=b"k" * 32),))
    assert b"kkkk" in msgspec.msgpack.encode(update)
    assert b"kkkk" not in msgspec.msgpack.encode(Known(view=merge(View(), update)))
