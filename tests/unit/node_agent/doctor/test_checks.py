"""What the doctor makes of a host's facts."""

import pytest
from msgspec.structs import replace

from cluster.api.endpoint import EndpointUpdate, OverlayNetwork, Peer, ServiceEndpoint
from cluster.api.specs import PortConfig
from node_agent.doctor import checks, iptables_rules
from node_agent.doctor.checks import FAIL, OK, WARN, Check, Finding
from node_agent.doctor.command import findings, table
from node_agent.doctor.facts import DaemonFacts, Disk, EngineFacts, Facts, Member, Taken
from node_agent.doctor.firewall_checks import firewall
from node_agent.network.routes import Route
from node_agent.network.rtnetlink import Link
from node_agent.network.view import Known, LocalTask, View, merge

NET = "net1".ljust(25, "0")
NETWORK = OverlayNetwork(network_id=NET, name="shop_front", subnet="10.50.1.0/24", gateway="10.50.1.1", vni=4097)
ME, OTHER = (Peer(node_id=name, number=number, addr=f"10.0.0.{number}", hostname=name) for number, name in ((1, "me"), (2, "other")))
WEB = ServiceEndpoint(
    service_id="web", name="web", ports=(PortConfig(protocol="tcp", published_port=8080, target_port=80, publish_mode="ingress"),)
)
DAY = 86400.0


def link(name: str, index: int, mtu: int = 1500) -> Link:
    return Link(index=index, name=name, mtu=mtu, up=True)


def known(*services: ServiceEndpoint) -> Known:
    update = EndpointUpdate(
        version=1, complete=True, peers=(ME, OTHER), networks=(NETWORK,), services=services, ingress_subnet="10.96.0.0/20"
    )
    task = LocalTask(task_id="t1", service_id="web", addresses={NET: "10.50.1.5"}, pid=7)
    return Known(view=merge(View(), update), tasks={"t1": task})


WELL = Facts(
    now=10 * DAY,
    member=Member(
        node_id="me",
        cluster_id="c",
        is_manager=True,
        listen_port=2377,
        managers=("10.0.0.2:2377",),
        certificate_begins=0,
        certificate_ends=90 * DAY,
    ),
    known=known(WEB),
    daemon=DaemonFacts(pid=99, descriptors=50, descriptor_limit=1 << 20, data_plane="nftables"),
    engine=EngineFacts(
        address="/var/run/docker.sock",
        version="28.0",
        api="1.48",
        cgroup_version="2",
        live_restore=True,
        networks={"shoal-net100000000": NET, "shoal_gw": "shoal_gw"},
        task_containers={"web.1.t1": "c"},
    ),
    settings={"net.ipv4.ip_forward": "1", "net.netfilter.nf_conntrack_count": "10", "net.netfilter.nf_conntrack_max": "1000"},
    links={one.name: one for one in (link("lo", 1), link("eth0", 2), link("sb-net100000000", 3, 1450), link("sv-net100000000", 4, 1450))},
    addresses={"127.0.0.1": "lo", "10.0.0.1": "eth0"},
    routes=(Route(destination="0.0.0.0/0", device=2), Route(destination="10.0.0.0/24", device=2)),
    tables=("shoal", "shoal_anchor"),
    routing_rules=1,
    accepts_in_docker=True,
    skews={"10.0.0.2:2377": 0.2},
    disks=(Disk(path="/var/lib/shoal", total=100 << 30, free=50 << 30, inodes=1000, inodes_free=900),),
)


def levels(found: list[Finding]) -> set[str]:
    return {one.level for one in found}


def test_a_healthy_member_has_nothing_to_complain_of() -> None:
    found = findings(WELL)
    assert [one for one in found if one.level != OK] == []
    assert {"daemon", "engine", "certificate", "clock", "disk", "kernel", "conntrack", "mtu", "left over", "firewall"} <= {
        one.about for one in found
    }


def test_so_has_a_host_that_shoal_was_never_on() -> None:
    bare = Facts(engine=EngineFacts(startable=True), links={"lo": link("lo", 1)})
    assert levels(findings(bare)) == {OK}


def changed(**fields: object) -> Facts:
    return replace(WELL, **fields)


SICK = {
    "no root": (checks.daemon, changed(is_root=False), FAIL, "not root"),
    "dead daemon": (checks.daemon, changed(daemon=DaemonFacts()), FAIL, "its daemon does not run"),
    "few descriptors": (checks.daemon, changed(daemon=DaemonFacts(pid=1, descriptors=9, descriptor_limit=1024)), WARN, "may open 1024"),
    "no descriptors left": (checks.daemon, changed(daemon=DaemonFacts(pid=1, descriptors=900, descriptor_limit=1024)), FAIL, "900 of 1024"),
    "no engine": (checks.engine, changed(engine=EngineFacts()), FAIL, "no container engine"),
    "a silent engine": (checks.engine, changed(engine=EngineFacts(address="/d.sock", problem="timed out")), FAIL, "timed out"),
    "swarm mode": (checks.engine, changed(engine=replace(WELL.engine, in_swarm=True)), FAIL, "swarm mode itself"),
    "an old engine": (checks.engine, changed(engine=replace(WELL.engine, api="1.22")), FAIL, "older than 1.24"),
    "cgroups v1": (checks.engine, changed(engine=replace(WELL.engine, cgroup_version="1")), WARN, "version 1"),
    "no live-restore": (checks.engine, changed(engine=replace(WELL.engine, live_restore=False)), WARN, "ends every task"),
    "expired": (checks.certificate, changed(now=91 * DAY), FAIL, "expired 24 hours ago"),
    "not renewed": (checks.certificate, changed(now=80 * DAY), WARN, "expires in 10 days and was not renewed"),
    "clock off": (checks.clock, changed(skews={"m:2377": -60.0}), WARN, "60 seconds ahead of manager m:2377"),
    "clock far off": (checks.clock, changed(skews={"m:2377": 7300.0}), FAIL, "2 hours behind manager m:2377"),
    "little room": (checks.disks, changed(disks=(replace(WELL.disks[0], free=5 << 30),)), WARN, "5.0 GiB free of 100.0"),
    "no room": (checks.disks, changed(disks=(replace(WELL.disks[0], free=1 << 20),)), FAIL, "0.0 GiB free"),
    "no inodes": (checks.disks, changed(disks=(replace(WELL.disks[0], inodes_free=10),)), WARN, "99% of the inodes"),
    "no vxlan": (
        checks.features,
        changed(lacking={"VXLAN": "Unknown device type."}),
        FAIL,
        "VXLAN does not work here: Unknown device type.",
    ),
    "bridge filter": (checks.settings, changed(settings={"net.bridge.bridge-nf-call-iptables": "1"}), WARN, "18 to 35 %"),
    "no forwarding": (checks.settings, changed(settings={"net.ipv4.ip_forward": "0"}), FAIL, "nothing reaches a task"),
    "strict paths": (
        checks.settings,
        changed(settings={"net.ipv4.conf.all.rp_filter": "1", "net.ipv4.conf.sb-net100000000.rp_filter": "0"}),
        FAIL,
        "rp_filter is 1 on sb-net100000000",
    ),
    "many connections": (
        checks.connections,
        changed(settings={"net.netfilter.nf_conntrack_count": "850", "net.netfilter.nf_conntrack_max": "1000"}),
        WARN,
        "850 of 1000",
    ),
    "too many": (
        checks.connections,
        changed(settings={"net.netfilter.nf_conntrack_count": "990", "net.netfilter.nf_conntrack_max": "1000"}),
        FAIL,
        "990 of 1000",
    ),
    "address gone": (
        checks.address,
        changed(addresses={"127.0.0.1": "lo", "10.0.0.7": "eth0"}),
        FAIL,
        "10.0.0.1, where other nodes reach the tasks of this one, is no address of this host",
    ),
    "small mtu": (
        checks.mtu,
        changed(known=Known(view=WELL.known.view), links={"eth0": link("eth0", 2, 1300)}),
        WARN,
        "carries 1300 bytes",
    ),
    "smaller than a network": (
        checks.mtu,
        changed(links={**WELL.links, "eth0": link("eth0", 2, 1400)}),
        WARN,
        "shop_front has an MTU of 1450",
    ),
    "a route": (
        checks.subnets,
        changed(routes=(Route(destination="10.50.0.0/16", device=2),)),
        FAIL,
        "shop_front (10.50.1.0/24) meets this host's own route 10.50.0.0/16 on eth0",
    ),
    "a port": (
        checks.ports,
        changed(taken=(Taken(protocol="tcp", port=8080, service="web", by="nginx (process 4)"),)),
        FAIL,
        "8080/tcp of service web is not served here: nginx (process 4) has it",
    ),
    "a bridge": (checks.leftovers, changed(links={**WELL.links, "sb-old000000000": link("sb-old000000000", 9)}), WARN, "sb-old"),
    "another swarm's task": (
        checks.leftovers,
        changed(engine=replace(WELL.engine, task_containers={"db.1.x": "another"})),
        WARN,
        "container db.1.x",
    ),
}


@pytest.mark.parametrize(("check", "facts", "level", "text"), SICK.values(), ids=SICK.keys())
def test_what_is_wrong_is_found_with_a_cure(check: Check, facts: Facts, level: str, text: str) -> None:
    wrong = [one for one in check(facts) if one.level != OK]
    assert [one.level for one in wrong] == [level]
    assert text in wrong[0].text
    assert wrong[0].cure
    assert "\n" not in wrong[0].text + wrong[0].cure


def test_everything_of_ours_is_left_over_once_a_host_is_no_member() -> None:
    left = [one.text for one in checks.leftovers(replace(WELL, member=None, known=Known(), daemon=DaemonFacts(), leftovers=("secrets",)))]
    assert left == [
        "interface sb-net100000000",
        "interface sv-net100000000",
        "engine network shoal-net100000000",
        "engine network shoal_gw",
        "container web.1.t1",
        "nftables table shoal",
        "nftables table shoal_anchor",
        "1 routing rules of priority 5348",
        "our rule in DOCKER-USER",
        "secrets",
    ]


@pytest.mark.parametrize(
    ("rule", "what"),
    [
        ("-A INPUT -p udp -m udp --dport 4789 -j DROP", "VXLAN from 10.0.0.2 (4789/udp) is dropped"),
        ("-A INPUT -p tcp -m tcp --dport 7946 -j REJECT", "joining from 10.0.0.2 (7946/tcp) is dropped"),
        ("-A INPUT -i sb-+ -p udp -j DROP", "tasks' questions for names (53/udp) is dropped"),
        ("-A FORWARD -i eth0 -j DROP", "traffic of service web's port 8080/tcp is dropped"),
        ("-A INPUT -p udp -m limit --limit 1/s -j DROP", "may be dropped"),
    ],
)
def test_a_firewall_that_eats_our_traffic_is_found_with_its_rule(rule: str, what: str) -> None:
    saved = f"*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n{rule}\nCOMMIT\n"
    found = list(firewall(changed(firewalls=(iptables_rules.read(saved, tool="iptables"),))))
    assert any(what in one.text and rule in one.text for one in found)
    assert all(one.cure for one in found)


BALANCING = replace(WELL.daemon, data_plane="userspace, since the daemon runs without CAP_NET_ADMIN: a process balances")


def test_a_node_that_balances_in_userspace_is_told_what_it_lacks_and_not_what_its_kernel_does() -> None:
    facts = changed(daemon=BALANCING, lacking={"VXLAN": "Operation not permitted"})
    assert [(one.about, one.level) for one in checks.features(facts)] == [("data plane", WARN)]
    assert next(checks.features(facts)).text == f"in {BALANCING.data_plane}"
    assert "data plane: userspace" in next(checks.daemon(facts)).text
    assert "since" not in next(checks.daemon(facts)).text


@pytest.mark.parametrize(
    ("rule", "what"),
    [
        ("-A INPUT -p tcp -m tcp --dport 4789 -j DROP", "connections that nodes relay from 10.0.0.2 (4789/tcp) is dropped"),
        ("-A INPUT -p udp -m udp --dport 4789 -j DROP", "datagrams that nodes relay from 10.0.0.2 (4789/udp) is dropped"),
        ("-A INPUT -p tcp -m tcp --dport 8080 -j DROP", "traffic of service web's port 8080/tcp is dropped"),
    ],
)
def test_nor_what_eats_traffic_that_it_does_not_have(rule: str, what: str) -> None:
    balances = replace(WELL.known, view=replace(WELL.known.view, peers={"me": replace(ME, linked=False), "other": OTHER}))
    saved = f"*filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [0:0]\n{rule}\nCOMMIT\n"
    facts = changed(daemon=BALANCING, known=balances, firewalls=(iptables_rules.read(saved, tool="iptables"),))
    assert [one.text.partition(" (iptables")[0] for one in firewall(facts)] == [what]


def test_a_line_a_finding_and_under_it_its_cure() -> None:
    found = [checks.ok("disk", "fine"), checks.fail("certificate", "expired", "join again")]
    assert table(found).splitlines() == ["ok    disk         fine", "fail  certificate  expired", "                   -> join again"]
