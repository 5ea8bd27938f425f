"""A root is rotated without a moment at which two nodes that know different things cannot talk, and over when every node followed."""

import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from msgspec.structs import replace

from cluster.api.changes import ChangeSet, Put
from cluster.api.commands import UpdateCluster
from cluster.api.errors import InvalidArgument, OutOfSequence
from cluster.api.ids import from_bytes
from cluster.api.objects import Cluster, JoinTokens, Node, NodeDescription, RootCA
from cluster.api.specs import CAConfig, ClusterSpec, ExternalCA
from cluster.api.states import Role
from cluster.rpc.identity import Identity, issuer_facts, issuer_of, new_csr, new_key
from cluster.rpc.tokens import JoinToken, ca_digest, parse, root_of
from manager.ca import trust
from manager.ca.authority import Root, given_root, issue, make_root
from manager.ca.rotation import asked_for, finish
from manager.controlapi.clusters import update
from manager.store.apply import apply
from manager.store.snapshot import EMPTY_SNAPSHOT, Snapshot
from node_agent.described import tls_info

CLUSTER, HERE, AWAY = (from_bytes(bytes([number]) * 16) for number in range(1, 4))
NOW = 1_700_000_000.0
YEARS = 19 * 365 * 86400
"""Handshakes go by the machine's clock, so what they use is valid for long."""


def root() -> Root:
    return make_root(new_key(), cluster_id=CLUSTER, now=NOW, serial=1)


@pytest.fixture(scope="module")
def old() -> Root:
    return root()


def founded(old: Root) -> Snapshot:
    tokens = JoinTokens(
        worker=str(JoinToken(ca_digest(old.certificate), "w" * 25)), manager=str(JoinToken(ca_digest(old.certificate), "m" * 25))
    )
    cluster = Cluster(id=CLUSTER, root_ca=RootCA(cert=old.certificate, key=old.key.encode()), join_tokens=tokens)
    nodes = [Node(id=node_id) for node_id in (HERE, AWAY)]
    return put(EMPTY_SNAPSHOT, *(Put(object=one) for one in (cluster, *nodes)))


def put(now: Snapshot, *changes: Put) -> Snapshot:
    then, refusal = apply(now, now.version + 1, ChangeSet(at=1, changes=changes))
    assert refusal is None
    return then


def cluster_of(now: Snapshot) -> Cluster:
    assert now.cluster is not None
    return now.cluster


def rotated(now: Snapshot, **wanted: object) -> Snapshot:
    """After an update that asks for a rotation."""
    present = cluster_of(now)
    config = CAConfig(**{"force_rotate": present.last_forced_rotation + 1, **wanted})
    spec = ClusterSpec(ca_config=config)
    rotation = asked_for(present, config, now=NOW, serial=lambda: 7)
    assert rotation is not None
    command = UpdateCluster(request_id=str(now.version), version=now.version, spec=spec, rotation=rotation, rotation_base=present.version)
    then, refusal = apply(now, now.version + 1, ChangeSet(at=1, changes=update(now, command).changes))
    assert refusal is None
    return then


def identity(now: Snapshot, role: Role = Role.MANAGER) -> Identity:
    """What a node has that is certified in this state."""
    key, cluster = new_key(), cluster_of(now)
    certificate = issue(
        trust.issuer_of(cluster), new_csr(key), node_id=HERE, role=role, cluster_id=CLUSTER, now=NOW, lifetime=YEARS, serial=3
    )
    return Identity(key=key, certificate=certificate + trust.chain_of(cluster), roots=trust.trusted(cluster))


def following(now: Snapshot, node_id: str, whose: Identity) -> Snapshot:
    """The node has said that it has that identity."""
    node = now.nodes[node_id]
    return put(now, Put(object=replace(node, description=NodeDescription(tls_info=tls_info(whose))), base=node.version))


def context(whose: Identity, folder: Path, *, server: bool) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    file = folder / "pair.pem"
    file.write_text(whose.certificate + whose.key)
    made.load_cert_chain(file)
    made.load_verify_locations(cadata=whose.roots)
    made.verify_mode = ssl.CERT_REQUIRED
    return made


def can_talk(client: Identity, server: Identity, folder: Path) -> bool:
    """A handshake in memory, each side demanding a certificate that it trusts."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        context(client, folder, server=False).wrap_bio(to_client, to_server, server_hostname="swarm-manager"),
        context(server, folder, server=True).wrap_bio(to_server, to_client, server_side=True),
    ]
    done = [False, False]
    for _ in range(10):
        for number, end in enumerate(ends):
            try:
                end.do_handshake()
                done[number] = True
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError:
                return False
    return all(done)


# -- what is asked for -----------------------------------------------------------------------------------------------------------------
def test_other_settings_ask_for_no_rotation(old: Root) -> None:
    present = cluster_of(founded(old))
    for config in (CAConfig(), CAConfig(node_cert_expiry=1), CAConfig(signing_ca_cert=old.certificate, signing_ca_key=old.key)):
        assert asked_for(present, config, now=NOW, serial=lambda: 7) is None


def test_a_forced_rotation_draws_a_root_once(old: Root) -> None:
    now = rotated(founded(old))
    assert cluster_of(now).root_rotation_in_progress
    assert cluster_of(now).last_forced_rotation == 1
    assert asked_for(cluster_of(now), CAConfig(force_rotate=1), now=NOW, serial=lambda: 7) is None


def test_a_given_root_is_used_and_its_key_is_shown_nowhere(old: Root) -> None:
    given = root()
    now = rotated(founded(old), signing_ca_cert=given.certificate, signing_ca_key=given.key)
    cluster = cluster_of(now)
    assert trust.issuer_of(cluster) == given
    assert (cluster.spec.ca_config.signing_ca_cert, cluster.spec.ca_config.signing_ca_key) == ("", "")


def test_roots_that_cannot_be_are_refused(old: Root) -> None:
    present, other = cluster_of(founded(old)), root()
    leaf = issue(other, new_csr(new_key()), node_id=HERE, role=Role.MANAGER, cluster_id=CLUSTER, now=NOW, lifetime=60, serial=2)
    for config, words in (
        (CAConfig(signing_ca_cert="no"), "no PEM certificate"),
        (CAConfig(signing_ca_cert=other.certificate + old.certificate, signing_ca_key=other.key), "one certificate is wanted"),
        (CAConfig(signing_ca_cert=leaf, signing_ca_key=other.key), "not signed by itself"),
        (CAConfig(signing_ca_cert=other.certificate, signing_ca_key=old.key), "key mismatch"),
        (CAConfig(signing_ca_cert=other.certificate, signing_ca_key="no"), "invalid CA key"),
        (CAConfig(signing_ca_cert=other.certificate), "needs its key too"),
        (CAConfig(signing_ca_key=other.key), "needs the signing CA certificate"),
    ):
        with pytest.raises(InvalidArgument, match=words):
            asked_for(present, config, now=NOW, serial=lambda: 7)
    with pytest.raises(InvalidArgument, match="not valid now"):
        given_root(other.certificate, other.key, now=NOW + 30 * 365 * 86400)


def test_the_key_of_a_given_root_may_be_with_an_external_ca(old: Root) -> None:
    given = root()
    now = rotated(founded(old), signing_ca_cert=given.certificate, external_cas=(ExternalCA(url="https://ca"),))
    assert trust.issuer_of(cluster_of(now)) == Root(certificate=given.certificate, key="")


def test_a_rotation_that_was_drawn_for_another_state_is_out_of_sequence(old: Root) -> None:
    now = founded(old)
    rotation = asked_for(cluster_of(now), CAConfig(force_rotate=1), now=NOW, serial=lambda: 7)
    command = UpdateCluster(
        request_id="r", version=now.version, spec=ClusterSpec(ca_config=CAConfig(force_rotate=1)), rotation=rotation, rotation_base=99
    )
    with pytest.raises(OutOfSequence):
        update(now, command)


# -- while it is under way ---------------------------------------------------------------------------------------------------------------
def test_nodes_that_followed_and_nodes_that_did_not_yet_can_talk(old: Root, tmp_path: Path) -> None:
    before = founded(old)
    during = rotated(before)
    stayed, followed = identity(before), identity(during)
    told = replace(stayed, roots=followed.roots)
    sides = {"stayed": stayed, "told": told, "followed": followed}
    failed = [(one, other) for one, client in sides.items() for other, server in sides.items() if not can_talk(client, server, tmp_path)]
    assert failed == []


def test_afterwards_the_old_root_is_worth_nothing(old: Root, tmp_path: Path) -> None:
    before = founded(old)
    during = rotated(before)
    after = during
    for node_id in (HERE, AWAY):
        after = following(after, node_id, identity(during))
    change = finish(after)
    assert change is not None
    after = put(after, change)
    fresh, stayed = identity(after), identity(before)
    assert trust.trusted(cluster_of(after)).count("BEGIN CERTIFICATE") == 1
    assert can_talk(fresh, identity(during), tmp_path), "a chain that is longer than needed does no harm"
    assert not can_talk(stayed, fresh, tmp_path)
    assert not can_talk(replace(stayed, roots=stayed.roots + fresh.roots), fresh, tmp_path), "its certificate is of the old root"


def test_a_root_with_an_rsa_key_works_too(old: Root, tmp_path: Path) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
    template = x509.load_pem_x509_certificate(old.certificate.encode())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "our own")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(5)
        .not_valid_before(template.not_valid_before_utc)
        .not_valid_after(template.not_valid_after_utc)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    text = certificate.public_bytes(serialization.Encoding.PEM).decode()
    before = founded(old)
    during = rotated(before, signing_ca_cert=text, signing_ca_key=pem)
    assert can_talk(identity(before), identity(during), tmp_path)
    assert can_talk(identity(during), identity(before), tmp_path)


def test_a_second_rotation_takes_over_from_the_first(old: Root, tmp_path: Path) -> None:
    before = founded(old)
    first = rotated(before)
    second = rotated(first)
    stayed, early, late = identity(before), identity(first), identity(second)
    assert trust.trusted(cluster_of(second)).count("BEGIN CERTIFICATE") == 3
    told = replace(early, roots=late.roots)
    assert all(can_talk(one, other, tmp_path) for one, other in ((stayed, late), (early, late), (told, late), (late, told)))


def test_a_rotation_is_taken_back_by_rotating_to_the_root_before(old: Root, tmp_path: Path) -> None:
    before = founded(old)
    first = rotated(before)
    back = rotated(first, signing_ca_cert=old.certificate, signing_ca_key=old.key)
    assert can_talk(identity(before), identity(back), tmp_path)
    assert can_talk(identity(first), identity(back), tmp_path)
    assert trust.issuer_of(cluster_of(back)) == old


def test_both_tokens_let_in_during_and_each_proves_just_its_own_root(old: Root) -> None:
    before = founded(old)
    during = rotated(before)
    bundle = trust.trusted(cluster_of(during))
    former, present = parse(cluster_of(before).join_tokens.worker), parse(cluster_of(during).join_tokens.worker)
    assert former.secret == present.secret
    assert root_of(former, bundle) == old.certificate
    assert root_of(present, bundle) == trust.issuer_of(cluster_of(during)).certificate
    assert root_of(present, old.certificate + "rubbish") is None


# -- the end -----------------------------------------------------------------------------------------------------------------------------
def test_it_is_over_when_every_node_followed_or_is_gone(old: Root) -> None:
    before = founded(old)
    assert finish(before) is None
    during = rotated(before)
    half = following(following(during, HERE, identity(during)), AWAY, identity(before))
    assert finish(half) is None
    over = finish(following(half, AWAY, identity(during)))
    assert over is not None
    assert isinstance(over.object, Cluster)
    assert (over.object.root_rotation, over.object.root_rotation_in_progress) == (None, False)
    assert over.object.root_ca.cert == trust.issuer_of(cluster_of(during)).certificate
    gone = replace(half, nodes=following(during, HERE, identity(during)).nodes.delete(AWAY))
    assert finish(gone) is not None


def test_a_node_says_whose_certificate_it_has(old: Root) -> None:
    during = rotated(founded(old))
    whose = identity(during)
    assert issuer_of(whose) == issuer_facts(trust.issuer_of(cluster_of(during)).certificate)
    assert tls_info(whose).trust_root == trust.trusted(cluster_of(during))
    assert (
        issuer_of(
            replace(whose, certificate=whose.certificate.split("-----END")[0] + "-----END CERTIFICATE-----\n", roots=root().certificate)
        )
        is None
    )
