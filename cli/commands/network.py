"""`shoal network`: overlays of the swarm, and the engine's own networks beside them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from cli.client import Json
from cli.command import NONE, ONE, ONE_OR_MORE, TWO, Entry, Noun, Verb
from cli.commands.service_remove import each
from cli.errors import ApiError, CliError
from cli.flags import values
from cli.flags.entries import FILTER, LABELS, filters
from cli.flags.grammar import COMMA_LIST, LIST, MAP, SWITCH, TEXT, Flag, Flags, Kind, Words
from cli.flags.subnets import pools
from cli.inspection import inspect_each
from cli.render import FORMAT, INSPECT_FORMAT, QUIET, Listing, form_of, natural, short_id, show
from cli.session import Session
from cli.template import govalue

HEADERS = {"ID": "NETWORK ID", "Name": "NAME", "Driver": "DRIVER", "Scope": "SCOPE"}
OTHERS = {"CreatedAt": "CREATED AT", "IPv4": "IPV4", "IPv6": "IPV6", "Internal": "INTERNAL", "Labels": "LABELS"}
LISTING = Listing({**HEADERS, **OTHERS}, tuple(HEADERS))


def _create(session: Session, words: Words) -> None:
    made = session.client.post("/networks/create", body(words.args[0], words.flags))
    if warning := made.get("Warning"):
        session.warn(f"WARNING: {warning}")
    session.say(made["Id"])


def body(name: str, flags: Flags) -> dict[str, Any]:
    """The network that the flags describe."""
    try:
        config = pools(flags.many("subnet"), flags.many("ip-range"), flags.many("gateway"), values.pairs(flags.many("aux-address")))
    except ValueError as wrong:
        raise CliError(str(wrong)) from None
    ipam = {"Driver": flags.text("ipam-driver", "default"), "Options": values.pairs(flags.many("ipam-opt")), "Config": config}
    made: dict[str, Any] = {
        "Name": name,
        "Driver": flags.text("driver", "bridge"),
        "Options": values.pairs(flags.many("opt")),
        "IPAM": ipam,
        "Scope": flags.text("scope"),
        "Labels": values.pairs(flags.many("label")),
    }
    for flag, member in (("internal", "Internal"), ("attachable", "Attachable"), ("ingress", "Ingress"), ("config-only", "ConfigOnly")):
        made[member] = flags.on(flag)
    for flag, member in (("ipv4", "EnableIPv4"), ("ipv6", "EnableIPv6")):
        if flag in flags:
            made[member] = flags.on(flag)
    if flags.text("config-from"):
        made["ConfigFrom"] = {"Network": flags.text("config-from")}
    return made


def _ls(session: Session, words: Words) -> None:
    networks = session.client.list("/networks", filters(words.flags.many("filter")))
    rows = [row(one, whole=words.flags.on("no-trunc")) for one in sorted(networks, key=lambda one: natural(one["Name"]))]
    show(session, LISTING, rows, form_of(words.flags), quiet=words.flags.on("quiet"))


def row(network: Json, *, whole: bool) -> Mapping[str, Any]:
    labels = network.get("Labels") or {}
    return {
        "ID": network["Id"] if whole else short_id(network["Id"]),
        "Name": network["Name"],
        "Driver": network.get("Driver", ""),
        "Scope": network.get("Scope", ""),
        "IPv4": govalue.text(bool(network.get("EnableIPv4"))),
        "IPv6": govalue.text(bool(network.get("EnableIPv6"))),
        "Internal": govalue.text(bool(network.get("Internal"))),
        "CreatedAt": govalue.text(network.get("Created", "")),
        "Labels": ",".join(f"{key}={value}" for key, value in sorted(labels.items())),
        "Label": lambda key: labels.get(key, ""),
    }


def _inspect(session: Session, words: Words) -> None:
    query = {"verbose": "true"} if words.flags.on("verbose") else None
    inspect_each(session, words, lambda name: session.client.get(f"/networks/{name}", query))


def _rm(session: Session, words: Words) -> None:
    def remove(name: str) -> None:
        try:
            session.client.delete(f"/networks/{name}")
        except ApiError as refused:
            if refused.status != 404 or not words.flags.on("force"):
                raise

    each(session, words.args, remove)


def _prune(session: Session, words: Words) -> None:
    if not words.flags.on("force"):
        session.out.write("WARNING! This will remove all networks that no container uses.\nAre you sure you want to continue? [y/N] ")
        session.out.flush()
        if sys.stdin.readline().strip().lower() != "y":
            raise CliError("network prune has been cancelled")
    wanted = filters(words.flags.many("filter"))
    query = {"filters": govalue.as_json({key: dict.fromkeys(found, True) for key, found in wanted.items()})} if wanted else None
    if gone := session.client.post("/networks/prune", query=query).get("NetworksDeleted"):
        session.say("Deleted Networks:")
        for name in gone:
            session.say(name)
        session.say()


def _connect(session: Session, words: Words) -> None:
    flags, (network, container) = words.flags, words.args
    addresses = {"IPv4Address": flags.text("ip"), "IPv6Address": flags.text("ip6"), "LinkLocalIPs": flags.many("link-local-ip")}
    endpoint = {
        "IPAMConfig": {member: value for member, value in addresses.items() if value},
        "Aliases": flags.many("alias"),
        "Links": flags.many("link"),
        "DriverOpts": values.pairs(flags.many("driver-opt")),
        "GwPriority": flags.value("gw-priority", 0),
    }
    session.client.post(f"/networks/{network}/connect", {"Container": container, "EndpointConfig": endpoint})


def _disconnect(session: Session, words: Words) -> None:
    network, container = words.args
    session.client.post(f"/networks/{network}/disconnect", {"Container": container, "Force": words.flags.on("force")})


create = Verb(
    "create",
    _create,
    help="Make a network",
    arguments="NETWORK",
    arity=ONE,
    flags=(
        Flag("attachable", SWITCH, "Let containers that are no tasks attach"),
        Flag("aux-address", MAP, "Addresses that the driver uses, as NAME=ADDRESS"),
        Flag("config-from", TEXT, "Network to take the configuration from", complete="network"),
        Flag("config-only", SWITCH, "Make only a configuration"),
        Flag("driver", TEXT, "Driver of the network; overlay spans the swarm", short="d", default='"bridge"', complete="overlay|bridge"),
        Flag("gateway", COMMA_LIST, "Gateways of the subnets"),
        Flag("ingress", SWITCH, "Make the network of published ports"),
        Flag("internal", SWITCH, "Keep the network from the world outside"),
        Flag("ip-range", COMMA_LIST, "Parts of the subnets that addresses are given out of"),
        Flag("ipam-driver", TEXT, "Driver that manages addresses", default='"default"'),
        Flag("ipam-opt", MAP, "Options of that driver"),
        Flag("ipv4", SWITCH, "Give out IPv4 addresses", default="true"),
        Flag("ipv6", SWITCH, "Give out IPv6 addresses"),
        Flag("label", LABELS, "Labels of the network"),
        Flag("opt", MAP, "Options of the network's driver", short="o"),
        Flag("scope", TEXT, "Where the network is known: local or swarm", complete="local|swarm"),
        Flag("subnet", COMMA_LIST, "Subnets, as in 10.1.2.0/24"),
    ),
)
ls = Verb(
    "ls",
    _ls,
    help="List networks",
    arity=NONE,
    flags=(
        Flag("filter", FILTER, "Show only what fits, as in driver=overlay", short="f"),
        FORMAT,
        Flag("no-trunc", SWITCH, "Cut nothing short"),
        QUIET,
    ),
    aliases=("list",),
)
inspect = Verb(
    "inspect",
    _inspect,
    help="Show one or more networks in detail",
    arguments="NETWORK [NETWORK...]",
    arity=ONE_OR_MORE,
    flags=(INSPECT_FORMAT, Flag("verbose", SWITCH, "Show the tasks and services on it too", short="v")),
    complete="network",
)
rm = Verb(
    "rm",
    _rm,
    help="Remove one or more networks",
    arguments="NETWORK [NETWORK...]",
    arity=ONE_OR_MORE,
    flags=(Flag("force", SWITCH, "Be content if it is not there", short="f"),),
    aliases=("remove",),
    complete="network",
)
prune = Verb(
    "prune",
    _prune,
    help="Remove all networks that nothing uses",
    arity=NONE,
    flags=(Flag("filter", FILTER, "Remove only what fits, as in until=24h"), Flag("force", SWITCH, "Do not ask", short="f")),
)
connect = Verb(
    "connect",
    _connect,
    help="Attach a container to a network",
    arguments="NETWORK CONTAINER",
    arity=TWO,
    flags=(
        Flag("alias", COMMA_LIST, "Names of the container on that network"),
        Flag("driver-opt", COMMA_LIST, "Options for the network's driver"),
        Flag("gw-priority", Kind("int", values.integer), "The highest gives the container its default gateway"),
        Flag("ip", TEXT, "IPv4 address, as in 172.30.100.104"),
        Flag("ip6", TEXT, "IPv6 address, as in 2001:db8::33"),
        Flag("link", LIST, "Containers to link to"),
        Flag("link-local-ip", COMMA_LIST, "Link-local addresses"),
    ),
    complete="network",
)
disconnect = Verb(
    "disconnect",
    _disconnect,
    help="Detach a container from a network",
    arguments="NETWORK CONTAINER",
    arity=TWO,
    flags=(Flag("force", SWITCH, "Detach even if the container is gone", short="f"),),
    complete="network",
)

noun = Noun(
    "network",
    {
        "connect": Entry(__name__, "connect", connect.help or ""),
        "create": Entry(__name__, "create", create.help or ""),
        "disconnect": Entry(__name__, "disconnect", disconnect.help or ""),
        "inspect": Entry(__name__, "inspect", inspect.help or ""),
        "ls": Entry(__name__, "ls", ls.help or "", ("list",)),
        "prune": Entry(__name__, "prune", prune.help or ""),
        "rm": Entry(__name__, "rm", rm.help or "", ("remove",)),
    },
    help="Manage networks",
)
