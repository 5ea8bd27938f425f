"""What the daemon tells the process that seals, whole each time, and what is answered."""

from collections.abc import Mapping

import msgspec

from cluster.api.endpoint import DataKey
from cluster.api.ids import Id
from cluster.api.values import Value
from node_agent.network.crypt.packets import OVERHEAD
from node_agent.network.crypt.peering import End

PROTOCOL = 1
UDP_HEADERS = 28
"""IPv4 and UDP."""
FRAME_OVERHEAD = 28
"""Around what a task's MTU counts: the network's number, the kernel's ten bytes, the Ethernet header."""
ENCRYPTED_OVERHEAD = UDP_HEADERS + OVERHEAD + FRAME_OVERHEAD


def crypt_port(vxlan_port: int) -> int:
    """The next one: the kernel has the VXLAN port itself."""
    return vxlan_port + 1


class EncryptedNetwork(Value, frozen=True, kw_only=True):
    """A network of this node whose frames are sealed."""

    network_id: Id
    device: str
    """The TAP device, made and put into its bridge by whoever tells."""
    vni: int
    entries: Mapping[str, str] = {}
    """An address on another node -> that node's data path address."""


class CryptPlan(Value, frozen=True, kw_only=True, tag="plan"):
    me: End
    port: int
    """UDP, on every node."""
    mtu: int
    """The underlay's."""
    peers: tuple[End, ...] = ()
    networks: tuple[EncryptedNetwork, ...] = ()
    keys: tuple[DataKey, ...] | None = None
    """None: as told before. They are in memory alone, here as there."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Answered to each plan once it is in force."""

    refused: Mapping[Id, str] = {}
    """network -> why its device cannot be served."""
    silent: tuple[Id, ...] = ()
    """Nodes that did not answer a greeting yet: what is for them is dropped."""
    keys: tuple[int, ...] = ()
    """The ids of the keys that are held."""
    counts: Mapping[str, int] = {}
    """`sealed` and `opened` frames, and the dropped ones by reason."""
