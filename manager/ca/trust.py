"""Which root issues, and which roots are trusted: one of each in quiet times, several while the root is being rotated. Pure."""

from cluster.api.objects import Cluster
from manager.ca.authority import Root


def issuer_of(cluster: Cluster) -> Root:
    """Whose certificates nodes are to have. Without a key, an external CA signs."""
    rotation, present = cluster.root_rotation, cluster.root_ca
    if rotation is None:
        return Root(certificate=present.cert, key=present.key.decode())
    return Root(certificate=rotation.cert, key=rotation.key.decode())


def chain_of(cluster: Cluster) -> str:
    """What goes with a certificate, for those that trust only the root before; empty in quiet times."""
    return cluster.root_rotation.cross_signed if cluster.root_rotation is not None else ""


def trusted(cluster: Cluster) -> str:
    """The bundle that nodes hold others against. The first is the issuer: a node whose certificate is of another renews it."""
    rotation = cluster.root_rotation
    if rotation is None:
        return cluster.root_ca.cert
    return "".join(dict.fromkeys((rotation.cert, *rotation.abandoned, cluster.root_ca.cert)))
