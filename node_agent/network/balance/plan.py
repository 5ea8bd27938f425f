"""What the daemon tells the process that balances, and what it answers. Pure values."""

from cluster.api.values import Value
from node_agent.network.ingress import Port, Published

PROTOCOL = 1
"""Goes up when these values change: another version's process is replaced."""


class BalancePlan(Value, frozen=True, kw_only=True, tag="balance"):
    """All that is to be served, replacing what was told before."""

    me: str = ""
    """This node's data path address: what other nodes see relayed connections come from."""
    port: int = 4789
    """Where other nodes that balance as we do relay connections to, and where ours go; the data path port, tcp and udp."""
    published: tuple[Published, ...] = ()
    """`remote` and `clients` name other nodes by their data path addresses."""
    relays: tuple[str, ...] = ()
    """The other nodes that balance as we do."""
    linked: tuple[str, ...] = ()
    """The other nodes whose kernel balances: they are spoken to at the published port itself."""


class Report(Value, frozen=True, kw_only=True):
    taken: tuple[tuple[Port, str], ...] = ()
    """Ports that cannot be listened on, and who has them or why not."""
    relay: str = ""
    """Why other nodes cannot relay to us; empty when they can."""
