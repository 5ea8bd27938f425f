"""A task's sockets, read as the kernel prints them."""

from node_agent.network.connections import bound, listening, open_to, parse

HEADER = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
TCP = HEADER + (
    "   0: 00000000:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0\n"
    "   1: 0100007F:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0\n"
    "   2: 0201000A:1F40 0900630A:9C40 01 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0\n"
    "   3: 0201000A:9C41 0900630A:0050 01 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0\n"
)
TCP6 = HEADER + (
    "   0: 00000000000000000000000000000000:01BB 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 1 1 0 100 0 0 10 0\n"
    "   1: 00000000000000000000000001000000:2328 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 1 1 0 100 0 0 10 0\n"
    "   2: 0000000000000000FFFF00000201000A:01BB 0000000000000000FFFF00000900630A:9C40 01 0:0 00:0 0 0 0 1 1 0 100 0 0 10 0\n"
)
SOCKETS = [*parse(TCP), *parse(TCP6)]


def test_what_listens_on_loopback_alone_is_not_reached_by_others() -> None:
    assert listening(SOCKETS) == {8000, 443}


def test_connections_that_others_opened_are_counted_and_its_own_are_not() -> None:
    assert open_to(["10.0.1.2"], SOCKETS) == 2


def test_who_waits_at_a_port_and_at_which_address() -> None:
    tcp = HEADER + (
        "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 77 1 0 100 0 0 10 0\n"
        "   1: 0201000A:1F90 0900630A:9C40 01 00000000:00000000 00:00000000 00000000     0        0 78 1 0 100 0 0 10 0\n"
    )
    tcp6 = HEADER + "   0: 00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 79 1 0 0\n"
    assert [(one.address, one.inode) for one in bound(tcp, v6=False, tcp=True, port=8080)] == [("127.0.0.1", 77)]
    assert [(one.address, one.inode) for one in bound(tcp6, v6=True, tcp=True, port=8080)] == [("::", 79)]
    assert list(bound(tcp, v6=False, tcp=True, port=80)) == []
