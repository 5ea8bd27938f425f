"""The state folder: who this node is, on disk, 0700, one daemon at a time, with a format number.

DATA_ROOT/format        the number of the layout
DATA_ROOT/lock          held while a daemon runs
DATA_ROOT/swarm/        gone after `swarm leave`
    node.json           ids, addresses, managers last known
    node.key node.crt roots.pem
    raft.key raft/      managers only: the data key and the sealed log
DATA_ROOT/worker/       the journal
"""

import fcntl
import os
import shutil
from pathlib import Path

import msgspec
from msgspec import Struct

from cluster.api.assignment import ManagerAddr
from cluster.api.errors import Conflict, Internal
from cluster.api.ids import Id
from cluster.api.states import Role
from cluster.rpc.identity import Identity, facts

FORMAT = "1"


class NodeFacts(Struct, frozen=True, kw_only=True):
    """What a restarted daemon must know besides its keys."""

    node_id: Id
    cluster_id: Id
    listen_addr: str
    """host:port of our RPCs."""
    advertise_addr: str
    """host:port that others reach them at."""
    data_path_addr: str
    data_path_port: int = 4789
    managers: tuple[ManagerAddr, ...] = ()


class StateFolder:
    """Opens and locks the folder. Raises Conflict if another daemon has it, Internal if a newer version wrote it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        root.chmod(0o700)
        self._lock = os.open(root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as taken:
            raise Conflict(f"another shoald uses the state folder {root}: stop it, or give this one its own --data-root") from taken
        written = root / "format"
        if not written.exists():
            write_file(written, FORMAT.encode())
        elif (found := written.read_text().strip()) != FORMAT:
            raise Internal(f"the state folder {root} has format {found}, this shoald knows {FORMAT}: start the version that wrote it")

    def close(self) -> None:
        os.close(self._lock)

    @property
    def swarm(self) -> Path:
        return self.root / "swarm"

    @property
    def raft(self) -> Path:
        return self.swarm / "raft"

    def load(self) -> tuple[NodeFacts, Identity] | None:
        """Who we are; None outside a swarm. Raises Internal, naming the file, if a part is damaged."""
        path = self.swarm / "node.json"
        if not path.exists():
            return None
        try:
            node = msgspec.json.decode(path.read_bytes(), type=NodeFacts)
            identity = Identity(
                key=(self.swarm / "node.key").read_text(),
                certificate=(self.swarm / "node.crt").read_text(),
                roots=(self.swarm / "roots.pem").read_text(),
            )
            facts(identity.certificate)
        except (OSError, msgspec.MsgspecError) as damaged:
            raise Internal(
                f"the node's identity in {self.swarm} cannot be read: {damaged}. Leave with: shoald purge, then join again"
            ) from damaged
        return node, identity

    def role(self, identity: Identity) -> Role:
        return facts(identity.certificate).role

    def save(self, node: NodeFacts) -> None:
        self.swarm.mkdir(mode=0o700, exist_ok=True)
        write_file(self.swarm / "node.json", msgspec.json.format(msgspec.json.encode(node), indent=1))

    def save_identity(self, identity: Identity) -> None:
        self.swarm.mkdir(mode=0o700, exist_ok=True)
        write_file(self.swarm / "node.key", identity.key.encode())
        write_file(self.swarm / "roots.pem", identity.roots.encode())
        write_file(self.swarm / "node.crt", identity.certificate.encode())

    def data_key(self, random: bytes) -> bytes:
        """The key that seals this manager's log; made from `random` (32 bytes) the first time."""
        path = self.swarm / "raft.key"
        if not path.exists():
            self.swarm.mkdir(mode=0o700, exist_ok=True)
            write_file(path, random)
        return path.read_bytes()

    def forget_raft(self) -> None:
        """A manager no more: its log goes, its identity stays."""
        shutil.rmtree(self.raft, ignore_errors=True)
        (self.swarm / "raft.key").unlink(missing_ok=True)

    def forget_swarm(self) -> None:
        """After leaving: nothing of the swarm stays. The identity file goes first, so a crash midway leaves no half identity."""
        (self.swarm / "node.json").unlink(missing_ok=True)
        shutil.rmtree(self.swarm, ignore_errors=True)


def write_file(path: Path, content: bytes) -> None:
    """Whole or not at all, on disk when it returns, mode 0600."""
    fresh = path.with_name(path.name + ".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    fresh.rename(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
