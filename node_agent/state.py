"""The state folder: who this node is, on disk, 0700, one daemon at a time, with a format number.

DATA_ROOT/format        the number of the layout
DATA_ROOT/lock          held while a daemon runs
DATA_ROOT/swarm/        gone after `swarm leave`
    node.json           ids, addresses, managers last known
    node.key node.crt roots.pem
    raft.key raft/      managers only: the data key and the sealed log
    raft.begun          managers only, empty: there has been a log, so without one this manager must not vote
    lock                managers with autolock: what seals the two keys (see keylock)
    aside/              the log of a manager that a forced new cluster went on without
DATA_ROOT/worker/       the journal
"""

import fcntl
import os
import shutil
import threading
from pathlib import Path

import msgspec
from msgspec import Struct

from cluster.api.assignment import ManagerAddr
from cluster.api.errors import Conflict, Internal, InvalidArgument, Unavailable
from cluster.api.ids import Id
from cluster.api.states import Role
from cluster.rpc.identity import Identity, facts, key_of
from manager.raft.opening import holds_log
from node_agent import keylock

FORMAT = "1"
_UNREADABLE = (OSError, msgspec.MsgspecError, InvalidArgument, UnicodeDecodeError)


class SwarmLocked(Unavailable):
    """The keys of this manager are sealed, and nobody has given the unlock key since the daemon started."""

    def __init__(self) -> None:
        super().__init__(
            'Swarm is encrypted and needs to be unlocked before it can be used. Please use "docker swarm unlock" to unlock it.'
        )


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
        self._local_key: bytes | None = None
        self._changing = threading.RLock()
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

    # -- who we are --------------------------------------------------------------------------------------------------------------------
    def load_facts(self) -> NodeFacts | None:
        """What is known of us without any key; None outside a swarm. Raises Internal, naming the file, if it is damaged."""
        path = self.swarm / "node.json"
        if not path.exists():
            return None
        try:
            return msgspec.json.decode(path.read_bytes(), type=NodeFacts)
        except _UNREADABLE as damaged:
            raise self._damaged(damaged) from damaged

    def load(self) -> tuple[NodeFacts, Identity] | None:
        """Who we are; None outside a swarm. Raises SwarmLocked, or Internal, naming the file, if a part is damaged."""
        node = self.load_facts()
        if node is None:
            return None
        try:
            certificate = (self.swarm / "node.crt").read_text()
            keys = self._opened("node.key").decode()
            identity = Identity(key=key_of(certificate, keys), certificate=certificate, roots=(self.swarm / "roots.pem").read_text())
            facts(identity.certificate)
        except _UNREADABLE as damaged:
            raise self._damaged(damaged) from damaged
        return node, identity

    def _damaged(self, why: Exception) -> Internal:
        return Internal(
            f"the node's identity in {self.swarm} cannot be read: {why}. Put it back from a backup; or, if other managers run, stop the "
            "daemon, delete that folder, start it and join again"
        )

    def role(self) -> Role:
        """What our certificate says; it is no secret, so this works on a locked manager too."""
        return facts((self.swarm / "node.crt").read_text()).role

    def save(self, node: NodeFacts) -> None:
        self.swarm.mkdir(mode=0o700, exist_ok=True)
        write_file(self.swarm / "node.json", msgspec.json.format(msgspec.json.encode(node), indent=1))

    def save_identity(self, identity: Identity) -> None:
        """A crash at any point leaves a certificate with its key: both keys are kept until the new certificate is there."""
        self.swarm.mkdir(mode=0o700, exist_ok=True)
        with self._changing:
            self._refuse_if_locked()
            before = self._opened("node.key").decode() if (self.swarm / "node.key").exists() else ""
            if identity.key not in before:
                self._put("node.key", (identity.key + before).encode(), self._local_key)
            write_file(self.swarm / "roots.pem", identity.roots.encode())
            write_file(self.swarm / "node.crt", identity.certificate.encode())
            if before != identity.key:
                self._put("node.key", identity.key.encode(), self._local_key)

    def data_key(self, random: bytes) -> bytes:
        """The key that seals this manager's log; made from `random` (32 bytes) the first time."""
        with self._changing:
            if not (self.swarm / "raft.key").exists():
                self.swarm.mkdir(mode=0o700, exist_ok=True)
                self._put("raft.key", random, self._local_key)
            return self._opened("raft.key")

    # -- the log -----------------------------------------------------------------------------------------------------------------------
    @property
    def _begun(self) -> Path:
        return self.swarm / "raft.begun"

    @property
    def has_lost_log(self) -> bool:
        """There was one, and this manager may have voted, or acknowledged what nobody else has."""
        return self._begun.exists() and not holds_log(self.raft)

    def log_begins(self) -> None:
        """Durable before the first vote leaves."""
        if not self._begun.exists():
            write_file(self._begun, b"")

    def begin_log_anew(self) -> None:
        """No member counts on what it held any more: what a lost log left behind (snapshots, an emptied file) is none to go on from."""
        shutil.rmtree(self.raft, ignore_errors=True)
        self._begun.unlink(missing_ok=True)

    # -- the lock ----------------------------------------------------------------------------------------------------------------------
    @property
    def is_locked(self) -> bool:
        """There is a lock, and the key to it was not given yet."""
        return self._local_key is None and self._lock_file.exists()

    @property
    def _lock_file(self) -> Path:
        return self.swarm / "lock"

    def unlock(self, unlock_key: str) -> None:
        """Raises WrongUnlockKey."""
        self._local_key = keylock.unseal(self._lock_file.read_bytes(), keylock.parse(unlock_key), "lock")

    def is_locked_with(self, unlock_key: str) -> bool:
        """Whether all is as `lock` (or, for an empty key, `remove_lock`) leaves it."""
        present = [path for path in (self.swarm / "node.key", self.swarm / "raft.key") if path.exists()]
        if any(keylock.is_sealed(path.read_bytes()) != bool(unlock_key) for path in present):
            return False
        if not unlock_key or not self._lock_file.exists():
            return not unlock_key and not self._lock_file.exists()
        try:
            keylock.unseal(self._lock_file.read_bytes(), keylock.parse(unlock_key), "lock")
        except keylock.WrongUnlockKey:
            return False
        return True

    def lock(self, unlock_key: str) -> None:
        """From now on a restarted daemon needs this key. The lock is on the disk before anything is sealed with what it holds."""
        with self._changing:
            self._refuse_if_locked()
            if self._local_key is None:
                self._local_key = os.urandom(keylock.KEY_SIZE)
            sealed = keylock.seal(self._local_key, keylock.parse(unlock_key), "lock", random=os.urandom(28))
            write_file(self._lock_file, sealed)
            self._put_again(self._local_key)

    def remove_lock(self) -> None:
        """From now on a restarted daemon needs no key. The lock goes once nothing is sealed with what it holds."""
        with self._changing:
            self._refuse_if_locked()
            self._put_again(None)
            self._lock_file.unlink(missing_ok=True)
            self._local_key = None

    def _refuse_if_locked(self) -> None:
        if self.is_locked:
            raise SwarmLocked

    def _put_again(self, key: bytes | None) -> None:
        for name in ("node.key", "raft.key"):
            if (self.swarm / name).exists():
                self._put(name, self._opened(name), key)

    def _put(self, name: str, secret: bytes, key: bytes | None) -> None:
        write_file(self.swarm / name, secret if key is None else keylock.seal(secret, key, name, random=os.urandom(28)))

    def _opened(self, name: str) -> bytes:
        content = (self.swarm / name).read_bytes()
        if not keylock.is_sealed(content):
            return content
        if self._local_key is None:
            raise SwarmLocked
        return keylock.unseal(content, self._local_key, name)

    # -- leaving -----------------------------------------------------------------------------------------------------------------------
    def forget_raft(self) -> None:
        """A manager no more: its log goes, and the lock that only managers have; its identity stays."""
        self.begin_log_anew()
        (self.swarm / "raft.key").unlink(missing_ok=True)
        self.remove_lock()

    def set_raft_aside(self) -> None:
        """The log is not the swarm's any more. It is kept, with its key, as it may be the only copy of what was still agreed on."""
        self._begun.unlink(missing_ok=True)
        aside = self.swarm / "aside"
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(mode=0o700)
        for name in ("raft.key", "lock"):
            if (self.swarm / name).exists():
                write_file(aside / name, (self.swarm / name).read_bytes())
        if self.raft.exists():
            self.raft.rename(aside / "raft")
            _sync(self.swarm)
        (self.swarm / "raft.key").unlink(missing_ok=True)

    def forget_swarm(self) -> None:
        """After leaving: nothing of the swarm stays. The identity file goes first, so a crash midway leaves no half identity."""
        (self.swarm / "node.json").unlink(missing_ok=True)
        shutil.rmtree(self.swarm, ignore_errors=True)
        self._local_key = None


def write_file(path: Path, content: bytes) -> None:
    """Whole or not at all, on disk when it returns, mode 0600."""
    fresh = path.with_name(path.name + ".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        rest = memoryview(content)
        while rest:  # a disk that is nearly full takes a part, and refuses the next
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    fresh.rename(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
