"""What `shoald` does to a state folder while no daemon runs on it: `force-new-cluster`, `restore`, `rejoin`."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import click
from msgspec.structs import replace

from cluster.api.assignment import ManagerAddr
from cluster.api.errors import ShoalError
from node_agent.addresses import split_port
from node_agent.api.backend import InitRequest
from node_agent.config import Config
from node_agent.joining import own_addresses
from node_agent.recovery import asked_addresses, force
from node_agent.restoring import Place, restore
from node_agent.state import StateFolder

ADVERTISE = click.option("--advertise-addr", default="", metavar="ADDRESS|INTERFACE[:PORT]", help="Where the others reach this manager.")
LISTEN = click.option("--listen-addr", default="", metavar="ADDRESS[:PORT]", help="Where it listens (0.0.0.0:2377).")
DATA_PATH = click.option("--data-path-addr", default="", metavar="ADDRESS|INTERFACE", help="Where the traffic of containers goes.")


@contextmanager
def _folder(config: Config) -> Iterator[StateFolder]:
    """The state folder, ours alone. What is wrong becomes one line and exit status 1."""
    try:
        state = StateFolder(config.data)
        try:
            yield state
        finally:
            state.close()
    except ShoalError as wrong:
        _fail(wrong)


def _fail(message: object) -> NoReturn:
    click.echo(f"shoald: {message}", err=True)
    raise SystemExit(1)


@click.command("force-new-cluster")
@ADVERTISE
@LISTEN
@DATA_PATH
@click.pass_obj
def force_new_cluster(config: Config, advertise_addr: str, listen_addr: str, data_path_addr: str) -> None:
    """Make this node the only manager of its swarm, with all that its disk holds.

    For a swarm that has lost more than half of its managers for good. The daemon must not run; a locked manager asks for its unlock key.
    On a running daemon the same is done by: docker swarm init --force-new-cluster
    """
    with _folder(config) as state:
        if state.is_locked:
            state.unlock(click.prompt("Please enter unlock key", hide_input=True, err=True))
        known = state.load_facts()
        if known is None:
            _fail("this node is not part of a swarm")
        asked = InitRequest(listen_addr=listen_addr, advertise_addr=advertise_addr, data_path_addr=data_path_addr)
        node, _ = force(state, asked_addresses(asked, known), now=time.time_ns())
    click.echo(f"Node {node.node_id} is the only manager of swarm {node.cluster_id} now; start the daemon.")
    click.echo(
        "The managers that are lost are shown as down: remove them with 'shoal node rm', or start them to have them back as workers."
    )


@click.command("restore")
@click.argument("file", type=click.Path(path_type=Path))
@ADVERTISE
@LISTEN
@DATA_PATH
@click.option(
    "--node", default="", metavar="ID|NAME", help="Be this node of the snapshot again, whose containers run here. Default: a new one."
)
@click.pass_obj
def restore_snapshot(config: Config, /, file: Path, *, advertise_addr: str, listen_addr: str, data_path_addr: str, node: str) -> None:
    """Make a cluster of one manager from a snapshot, on an empty state folder.

    The swarm keeps its id, its CA and its join tokens. Nodes that still look for one of its managers at the address of this one come back
    by themselves; containers that run go on. The daemon must not run.
    """
    with _folder(config) as state:
        listen, advertise, data_path = own_addresses(listen_addr, advertise_addr or config.swarm_default_advertise_addr, data_path_addr)
        place = Place(listen=listen, advertise=advertise, data_path=data_path, node=node)
        made = restore(state, file, place, now=time.time_ns(), say=click.echo)
    click.echo(f"Node {made.node_id} at {made.advertise_addr} is its only manager; start the daemon.")


@click.command("rejoin")
@click.argument("addresses", nargs=-1, metavar="[HOST[:PORT]...]")
@ADVERTISE
@DATA_PATH
@click.pass_obj
def rejoin(config: Config, addresses: tuple[str, ...], advertise_addr: str, data_path_addr: str) -> None:
    """Look for the swarm's managers there, or be found at another address, from the next start on.

    For a node whose swarm was restored, or forced anew, at an address that it does not know; and for one whose own address has changed.
    The daemon must not run.
    """
    if not (addresses or advertise_addr or data_path_addr):
        _fail("name an address of a manager, or this node's new one with --advertise-addr")
    with _folder(config) as state:
        node = state.load_facts()
        if node is None:
            _fail("this node is not part of a swarm")
        asked = asked_addresses(InitRequest(advertise_addr=advertise_addr, data_path_addr=data_path_addr), node)
        managers = tuple(ManagerAddr(node_id="", addr="{}:{}".format(*split_port(address))) for address in addresses)
        state.save(replace(asked.applied_to(node), managers=managers or node.managers))


COMMANDS = {command.name: command for command in (force_new_cluster, restore_snapshot, rejoin)}
