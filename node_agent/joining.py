"""A machine asks its way into a swarm: what it is to be called from outside, and one manager after the other until one admits it."""

from collections.abc import Sequence

from cluster.api.assignment import ManagerAddr
from cluster.api.contracts import AdmissionRequest
from cluster.api.errors import InvalidArgument, ShoalError, Unavailable
from cluster.api.features import LEVEL
from cluster.rpc.bootstrap import PORT_OFFSET, ask_to_join, fetch_roots
from cluster.rpc.identity import Identity, new_csr, new_key
from cluster.rpc.tokens import JoinToken
from node_agent import machine
from node_agent.addresses import check_free, interface_addresses, is_address, resolve, split_port, to_advertise
from node_agent.state import NodeFacts


async def ask_in(
    remotes: Sequence[str], token: JoinToken, *, listen: str, advertise: str, data_path: str, feature_level: int = LEVEL
) -> tuple[NodeFacts, Identity]:
    """Be admitted by the first of the managers that answers; nothing is written. Raises what the last one said."""
    key = new_key()
    asked = AdmissionRequest(
        node_id=machine.draw_id(), secret=token.secret, csr=new_csr(key), addr=split_port(advertise)[0], feature_level=feature_level
    )
    failed: ShoalError = Unavailable("no manager was named")
    for remote in remotes:
        host, port = split_port(remote)
        address = f"{host}:{port}"
        try:
            roots = await fetch_roots(address, token, timeout=10)
            admitted = await ask_to_join(address, roots, asked, timeout=15)
        except Unavailable as away:
            failed = away
            continue
        node = NodeFacts(
            node_id=admitted.node_id,
            cluster_id=admitted.cluster_id,
            listen_addr=listen,
            advertise_addr=advertise,
            data_path_addr=data_path,
            managers=(ManagerAddr(node_id="", addr=address),),
        )
        return node, Identity(key=key, certificate=admitted.certificate, roots=admitted.roots)
    raise failed


def own_addresses(listen: str, advertise: str, data_path: str) -> tuple[str, str, str]:
    """(listen host:port, advertised host:port, data path address) from what was asked for, each defaulting to the one before."""
    listen_host, port = split_port(listen or "0.0.0.0")
    known = interface_addresses()
    if listen_host in known:
        listen_host = known[listen_host]
    elif not is_address(listen_host or "0.0.0.0"):
        raise InvalidArgument(
            f"listen address must be an IP address or network interface (with optional port number): {listen!r} is neither"
        )
    if advertise:
        host, advertised_port = resolve(advertise, what="advertise address", default_port=port)
    else:
        host = listen_host if listen_host not in {"", "0.0.0.0", "::"} else to_advertise(known)
        advertised_port = port
    path = resolve(data_path, what="data path address")[0] if data_path else host
    listen_host = listen_host or "0.0.0.0"
    check_free(listen_host, [port, port + PORT_OFFSET])
    return f"{listen_host}:{port}", f"{host}:{advertised_port}", path
