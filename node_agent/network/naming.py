"""The names that the data plane gives to kernel objects, so that a restarted daemon, `shoal doctor` and an operator recognise them.

Interface names hold 15 characters: a prefix of three and the first twelve of the network's id. Rules can then match by wildcard.
"""

from ipaddress import IPv4Address, IPv4Network

from cluster.api.ids import Id

BRIDGE_PREFIX = "sb-"
VXLAN_PREFIX = "sv-"
ENCRYPTED_PREFIX = "sc-"
"""The TAP device of an encrypted overlay, which has it in place of the VXLAN device."""
LINK_DEVICE = "shoal_link"
"""The node-to-node link: ingress traffic between the node it came in through and the node that runs the task."""
GATEWAY_BRIDGE = "shoal_gw"
"""The local bridge of tasks that publish a port and have no network that leads out of the node."""
LINK_VNI = 4096
"""The link's own; the allocator numbers overlays from 4097 on."""
NETWORK_LABEL = "shoal.network"
TABLE = "shoal"
"""The name of our nftables table, in the node's namespace and in every sandbox."""
ANCHOR = "shoal_anchor"
"""A table with an empty nat chain. As long as it is there, replacing the other one never unregisters NAT under live connections."""
STAND_IN = "shoal_next"
"""Decides in the place of a table that is there, while that is replaced."""


def bridge_of(network_id: Id) -> str:
    return BRIDGE_PREFIX + network_id[:12]


def vxlan_of(network_id: Id) -> str:
    return VXLAN_PREFIX + network_id[:12]


def tap_of(network_id: Id) -> str:
    return ENCRYPTED_PREFIX + network_id[:12]


def engine_network_of(network_id: Id) -> str:
    """The engine's name for the bridge network under an overlay."""
    return f"shoal-{network_id[:12]}"


def mac_of(address: str) -> str:
    """An address's hardware address is derived, so nobody has to be told it."""
    return "02:42:" + ":".join(f"{byte:02x}" for byte in IPv4Address(address).packed)


def link_address(subnet: str, number: int) -> str:
    """A node's address on the node link: the subnet's base plus its number."""
    return str(IPv4Network(subnet, strict=False).network_address + number)
