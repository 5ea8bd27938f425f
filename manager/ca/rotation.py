"""Rotating the root: what an update asks for, what a rotation begins with, when it is over. Pure but for drawing keys.

While it is under way certificates are issued under the new root, with a certificate beside them by which those that trust only the
root before can follow; the roots before are trusted until every node, those that are offline too, has a certificate of the new one.
"""

from collections.abc import Callable

from msgspec.structs import replace

from cluster.api.changes import Put
from cluster.api.errors import InvalidArgument
from cluster.api.objects import Cluster, Node, RootCA, RootRotation
from cluster.api.specs import CAConfig
from cluster.rpc.identity import issuer_facts, new_key
from manager.ca.authority import Root, cross_sign, given_root, make_root
from manager.ca.trust import issuer_of
from manager.store.snapshot import Snapshot

Serial = Callable[[], int]


def asked_for(present: Cluster, wanted: CAConfig, *, now: float, serial: Serial) -> RootRotation | None:
    """The rotation that these settings ask for, with all that it needs; None if they ask for none. `now` in Unix seconds.

    Raises InvalidArgument for a root that cannot be used.
    """
    is_forced = wanted.force_rotate != present.last_forced_rotation
    if not wanted.signing_ca_cert:
        if wanted.signing_ca_key:
            raise InvalidArgument("a signing CA key needs the signing CA certificate too")
        if not is_forced:
            return None
        fresh = make_root(new_key(), cluster_id=present.id, now=now, serial=serial())
        return towards(present, fresh, now=now, serial=serial)
    given = given_root(wanted.signing_ca_cert, wanted.signing_ca_key, now=now)
    if not given.key and not wanted.external_cas:
        raise InvalidArgument("a signing CA certificate needs its key too, or an external CA that signs with it")
    if given == issuer_of(present):
        return None
    return towards(present, given, now=now, serial=serial)


def towards(present: Cluster, target: Root, *, now: float, serial: Serial) -> RootRotation:
    """From whatever is trusted now to `target`, which may be the root before, if a rotation is to be taken back."""
    former, under_way = Root(certificate=present.root_ca.cert, key=present.root_ca.key.decode()), present.root_rotation
    abandoned = () if under_way is None else (under_way.cert, *under_way.abandoned)
    cross = ""
    if target.certificate != former.certificate:
        if not former.key:
            raise InvalidArgument("the present root's key is with an external CA: nodes could not follow to a root that it has not signed")
        cross = cross_sign(former, target.certificate, now=now, serial=serial())
    return RootRotation(
        cert=target.certificate,
        key=target.key.encode(),
        cross_signed=cross,
        abandoned=tuple(one for one in dict.fromkeys(abandoned) if one not in {target.certificate, former.certificate}),
    )


def finish(now: Snapshot) -> Put | None:
    """The end of the rotation, once every node has a certificate of the new root."""
    cluster = now.cluster
    if cluster is None or cluster.root_rotation is None:
        return None
    rotation = cluster.root_rotation
    key = issuer_facts(rotation.cert).public_key
    if not all(has_certificate_of(key, node) for node in now.nodes.values()):
        return None
    root = RootCA(cert=rotation.cert, key=rotation.key)
    return Put(object=replace(cluster, root_ca=root, root_rotation=None, root_rotation_in_progress=False), base=cluster.version)


def has_certificate_of(issuer_key: bytes, node: Node) -> bool:
    return node.description.tls_info.cert_issuer_public_key == issuer_key
