"""Tables of ours in the kernel: one in the node's namespace, one in each task's. Synchronous, for the worker thread."""

from collections.abc import Callable, Mapping

from cluster.api.ids import Id
from node_agent.network.conntrack import forget_udp, gone_destinations
from node_agent.network.desired import SandboxRules
from node_agent.network.naming import ANCHOR
from node_agent.network.netlink import Netlink
from node_agent.network.netns import identity, of_pid
from node_agent.network.nft import NETFILTER, NftError, Ruleset, open_ruleset
from node_agent.network.tables import Table, change, replacement
from node_agent.network.vip import Choice


class HeldTable:
    """One table of ours in one namespace, kept equal to what it should be."""

    def __init__(self, namespace: str | None) -> None:
        self._rules: Ruleset = open_ruleset(namespace)
        self._held: Table | None = None
        self._generation = -1

    def hold(self, table: Table, *, recheck: bool, step: Callable[[Table | None, Table], str] = change) -> None:
        """One transaction, if any. Raises NftError."""
        if recheck and self._held is not None and self._rules.generation() != self._generation:
            self._held = None  # somebody else committed something here: it may have been our table
        if self._held is table or not (text := step(self._held, table)):
            self._held = table
            return
        before = self._rules.generation()
        try:
            self._rules.run(_anchored(text) if self._held is None else text)
        except NftError:
            if self._held is None:
                raise
            self._held = None
            self._rules.run(_anchored(replacement(table)))
        after = self._rules.generation()
        self._held = table
        # Another commit in between leaves it open whether ours is still there: the next recheck programs it again.
        self._generation = after if after == before + 1 else -1

    def run(self, text: str) -> str:
        return self._rules.run(text)

    def close(self) -> None:
        self._rules.close()


def _anchored(text: str) -> str:
    """NAT hooks that come and go would break the connections that they translate: an empty chain stays."""
    chains = "".join(
        f" chain c_{hook} {{ type nat hook {hook} priority -99; policy accept; }}\n" for hook in ("prerouting", "output", "postrouting")
    )
    return f"table ip {ANCHOR} {{\n{chains}}}\n{text}"


class Sandboxes:
    """The VIP tables of every task's namespace on this node."""

    def __init__(self) -> None:
        self._open: dict[Id, tuple[int, HeldTable]] = {}
        self._vips: dict[Id, Mapping[str, Choice]] = {}

    def hold(self, wanted: Mapping[Id, SandboxRules], where: Mapping[Id, tuple[int, int]], *, recheck: bool) -> dict[Id, str]:
        """`where`: task -> (pid, identity of its namespace). Returns the tasks that could not be programmed, and why."""
        for gone in self._open.keys() - wanted.keys():
            self._close(gone)
        step = _remembering(change)
        problems = {}
        for task_id, rules in wanted.items():
            try:
                self._hold_one(task_id, rules, *where[task_id], recheck=recheck, step=step)
            except (NftError, OSError) as problem:
                problems[task_id] = str(problem)
                self._close(task_id)
        return problems

    def _hold_one(
        self, task_id: Id, rules: SandboxRules, pid: int, namespace: int, *, recheck: bool, step: Callable[[Table | None, Table], str]
    ) -> None:
        at, held = self._open.get(task_id, (0, None))
        if held is None or at != namespace:
            self._close(task_id)
            if identity(of_pid(pid)) != namespace:
                raise NftError(f"process {pid} of task {task_id} is gone")
            held = HeldTable(of_pid(pid))
            self._open[task_id] = (namespace, held)
        held.hold(rules.table, recheck=recheck, step=step)
        before = self._vips.get(task_id, {})
        if before is not rules.vips:
            self._vips[task_id] = rules.vips
            _forget_gone(before, rules.vips, pid)

    def _close(self, task_id: Id) -> None:
        self._vips.pop(task_id, None)
        if task_id in self._open:
            self._open.pop(task_id)[1].close()

    def close(self) -> None:
        for task_id in list(self._open):
            self._close(task_id)


def _remembering(step: Callable[[Table | None, Table], str]) -> Callable[[Table | None, Table], str]:
    """Sandboxes on the same networks go through the same change: its text is made once a round."""
    texts: dict[tuple[int, int], str] = {}

    def remembered(before: Table | None, after: Table) -> str:
        key = (id(before), id(after))
        if key not in texts:
            texts[key] = step(before, after)
        return texts[key]

    return remembered


def _forget_gone(before: Mapping[str, Choice], after: Mapping[str, Choice], pid: int) -> None:
    changed = {vip for vip, choice in before.items() if after.get(vip) != choice}
    gone = gone_destinations({vip: before[vip].ready for vip in changed}, {vip: after[vip].ready for vip in changed if vip in after})
    if not gone:
        return
    kernel = Netlink(NETFILTER, namespace=of_pid(pid))
    try:
        forget_udp(kernel, lambda flow: (flow.to, flow.answered_by) in gone)
    finally:
        kernel.close()
