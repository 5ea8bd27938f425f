"""What can go wrong around the consensus, with the facts in attributes and what to do in the text."""

from pathlib import Path

from cluster.api.errors import FailedPrecondition, Internal, TooLarge, Unavailable
from manager.raft.core.membership import MemberId


class NotLeader(Unavailable):
    """Only the leader can do this; nothing has happened."""

    def __init__(self, leader: MemberId | None) -> None:
        super().__init__(f"this manager does not lead; ask {leader}" if leader else "the cluster has no leader at the moment; try again")
        self.leader = leader


class ProposalLost(Unavailable):
    """Leadership ended while the proposal was on its way: it may have been committed or not."""

    def __init__(self) -> None:
        super().__init__("leadership changed before the outcome was known; look whether the change was made before repeating it")


class TooBusy(Unavailable):
    """Nothing has happened; more is waiting than this manager lets wait."""

    def __init__(self, waiting: int) -> None:
        super().__init__(f"{waiting} proposals are waiting to be committed; try again in a moment")
        self.waiting = waiting


class ProposalTooLarge(TooLarge):
    """Nothing has happened."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"a change of {size} bytes is over the limit of {limit}; split it")
        self.size, self.limit = size, limit


class MembershipRefused(FailedPrecondition):
    """The membership change was not begun."""

    def __init__(self, why: str) -> None:
        super().__init__(f"membership not changed: {why}")
        self.why = why


class StorageFull(Unavailable):
    """The disk, or what this manager may use of it, is full; nothing that was acknowledged is lost."""

    def __init__(self, path: Path | str, why: str) -> None:
        super().__init__(f"no room left for the Raft log in {path} ({why}); free disk space there, writing goes on by itself then")
        self.path, self.why = path, why


class StorageStalled(Unavailable):
    """The disk took a write and does not say that it is done; what was ordered is written once it goes on."""

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"the disk of the Raft log has not finished a write for {seconds:.1f} s; see what holds it up (dmesg, iostat -x, fsfreeze), "
            "writing goes on by itself then"
        )
        self.seconds = seconds


class StorageDamaged(Internal):
    """What is on the disk is not what was written. Going on could lose acknowledged writes, so nothing is started."""

    def __init__(self, path: Path | str, why: str) -> None:
        super().__init__(
            f"the Raft storage in {path} is damaged: {why}. Do not delete it yet. With other managers alive: stop the "
            "daemon, move that folder away, start it, and it gets all from them. As the only manager: restore the latest snapshot."
        )
        self.path, self.why = path, why


class LogLost(FailedPrecondition):
    """This member's log is gone, and with it whom it voted for: under its name it could elect a leader that lacks what was acknowledged."""

    def __init__(self, path: Path | str, why: str) -> None:
        super().__init__(
            f"this manager's Raft log is gone from {path}: it takes no part until the leader has counted it out, and begins anew then. "
            f"The leader is asked again and again ({why}). If none will lead any more: put the folder back; or use swarm init "
            "--force-new-cluster on a manager that has its log; or restore a snapshot"
        )
        self.path, self.why = path, why


class StorageFailed(Internal):
    """The disk refused a write for another reason than lack of room; what it holds is uncertain until it is read again."""

    def __init__(self, path: Path | str, why: str) -> None:
        super().__init__(f"writing the Raft log in {path} failed: {why}; check the disk, then start the daemon again")
        self.path, self.why = path, why


class WrongKey(FailedPrecondition):
    """The storage was sealed with another key, or belongs to another cluster."""

    def __init__(self, path: Path | str) -> None:
        super().__init__(f"the Raft storage in {path} does not open with this key for this cluster; give the key it was written with")
        self.path = path
