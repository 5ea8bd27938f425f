"""Tables of ours in the kernel: one in the node's namespace, one in each task's. Synchronous, for the worker thread."""

from collections.abc import Callable, Mapping
from itertools import zip_longest
from typing import TypeVar

from cluster.api.ids import Id
from node_agent.network.conntrack import addresses_in, forget_udp, gone_destinations
from node_agent.network.desired import SandboxRules
from node_agent.network.elements import NFTABLES, requests
from node_agent.network.naming import ANCHOR, TABLE
from node_agent.network.netlink import Netlink, Request
from node_agent.network.netns import identity, of_pid
from node_agent.network.nft import NftError, Ruleset, open_ruleset
from node_agent.network.shards import difference
from node_agent.network.tables import Table, change, element_steps, handover
from node_agent.network.vip import ASKED, PLAIN, Way

Ways = tuple[Mapping[str, Way], ...]
"""VIP -> its way, network by network."""
B = TypeVar("B")
A = TypeVar("A")
R = TypeVar("R")


_Step = Callable[[Table | None, Table], "str | tuple[Request, ...]"]
"""From one table to the other: what to tell the library, or the kernel."""


def between(before: Table | None, after: Table) -> str | tuple[Request, ...]:
    steps = element_steps(before, after)
    found = None if steps is None else requests(after, steps, PLAIN)
    return change(before, after) if found is None else found


class HeldTable:
    """One table of ours in one namespace, kept equal to what it should be."""

    def __init__(self, namespace: str | None) -> None:
        self._rules: Ruleset = open_ruleset(namespace)
        self._held: Table | None = None
        self._generation = -1

    @property
    def kernel(self) -> Netlink:
        return self._rules.kernel

    def hold(self, table: Table, *, recheck: bool, step: "_Step | None" = None) -> bool:
        """One transaction, if any. Raises NftError. Returns whether one that was there before, of whoever, had to be replaced."""
        if recheck and self._held is not None and self._rules.generation() != self._generation:
            self._held = None  # somebody else committed something here: it may have been our table
        if self._held is table:
            return False
        found = (step or between)(self._held, table)
        if not isinstance(found, str):
            if not found or self._transact(found):
                self._held = table
                return False
            found = change(self._held, table)
        return self._program(table, found)

    def _transact(self, requests: tuple[Request, ...]) -> bool:
        """Returns whether that was done; it is not when somebody else committed something since."""
        if self._generation < 0:
            return False
        try:
            self._generation = self.kernel.transact(NFTABLES, self._generation, requests)
        except OSError:
            return False
        return True

    def _program(self, table: Table, text: str) -> bool:
        replaces = self._held is None and self._is_there(table)
        if text:
            try:
                self._commit(*(handover(table) if replaces else (text,)), anchored=self._held is None)
            except NftError:
                if self._held is None:
                    raise
                self._held, replaces = None, True
                self._commit(*handover(table), anchored=True)
        self._held = table
        return replaces

    def _is_there(self, table: Table) -> bool:
        return f"table {table.family} {table.name}" in self._rules.run(f"list tables {table.family}").splitlines()

    def _commit(self, *texts: str, anchored: bool) -> None:
        """`anchored`: the whole table is new, and so may be the namespace."""
        before = self._rules.generation()
        for number, text in enumerate(texts):
            self._rules.run(_anchored(text) if anchored and number == 0 else text)
        after = self._rules.generation()
        # Another commit since ours leaves it open whether all of ours is still there: the next recheck programs it again.
        alone = after == before + len(texts) and (anchored or before == self._generation)
        self._generation = after if alone else -1

    def amend(self, text: str) -> None:
        """One transaction of ours more."""
        self._commit(text, anchored=False)

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
        self._ways: dict[Id, Ways] = {}

    def hold(self, wanted: Mapping[Id, SandboxRules], where: Mapping[Id, tuple[int, int]], *, recheck: bool) -> dict[Id, str]:
        """`where`: task -> (pid, identity of its namespace). Returns the tasks that could not be programmed, and why."""
        for gone in self._open.keys() - wanted.keys():
            self._close(gone)
        step, leaving = _remembering(between), _remembering(gone_ways)
        problems = {}
        for task_id, rules in wanted.items():
            try:
                replaced = self._hold_one(task_id, rules, *where[task_id], recheck=recheck, step=step)
                self._forget(task_id, rules.ways, leaving=leaving, replaced=replaced)
            except (NftError, OSError) as problem:
                problems[task_id] = str(problem)
                self._close(task_id)
        return problems

    def _hold_one(self, task_id: Id, rules: SandboxRules, pid: int, namespace: int, *, recheck: bool, step: "_Step") -> bool:
        at, held = self._open.get(task_id, (0, None))
        if held is None or at != namespace:
            self._close(task_id)
            if identity(of_pid(pid)) != namespace:
                raise NftError(f"process {pid} of task {task_id} is gone")
            held = HeldTable(of_pid(pid))
            self._open[task_id] = (namespace, held)
        return held.hold(rules.table, recheck=recheck, step=step)

    def _forget(self, task_id: Id, ways: Ways, *, leaving: "_Leaving", replaced: bool) -> None:
        """UDP flows to backends that are no more. To read them takes the kernel long, so only for VIPs that were sent a datagram; what
        was noted of that is lost with a table that was replaced.
        """
        before = self._ways.get(task_id, ())
        self._ways[task_id] = ways
        gone = leaving(before, ways)
        if not gone and not replaced:
            return
        kernel = self._open[task_id][1].kernel
        if replaced:
            vips = {vip: way for those in ways for vip, way in those.items()}
            stay = {(vip, address) for vip, way in vips.items() for address in way.choice.ready}
            left = forget_udp(kernel, lambda flow: flow.to in vips and (flow.to, flow.answered_by) not in stay)
            asked = sorted({flow.to for flow in left if flow.to in vips})
            if asked:
                self._open[task_id][1].amend(f"add element ip {TABLE} {ASKED} {{ {', '.join(asked)} }}")
        elif not {vip for vip, _ in gone}.isdisjoint(addresses_in(kernel, TABLE, ASKED)):
            forget_udp(kernel, lambda flow: (flow.to, flow.answered_by) in gone)

    def _close(self, task_id: Id) -> None:
        self._ways.pop(task_id, None)
        if task_id in self._open:
            self._open.pop(task_id)[1].close()

    def close(self) -> None:
        for task_id in list(self._open):
            self._close(task_id)


_Leaving = Callable[[Ways, Ways], set[tuple[str, str]]]


def gone_ways(before: Ways, after: Ways) -> set[tuple[str, str]]:
    """(VIP, backend) pairs that were there and are no more."""
    found: set[tuple[str, str]] = set()
    nothing: Mapping[str, Way] = {}
    for was, now in zip_longest(before, after, fillvalue=nothing):
        changed, gone = difference(was, now)
        had = {vip: was[vip].choice.ready for vip in (*gone, *changed) if vip in was}
        found |= gone_destinations(had, {vip: way.choice.ready for vip, way in changed.items()})
    return found


def _remembering(step: Callable[[B, A], R]) -> Callable[[B, A], R]:
    """Sandboxes on the same networks go through the same change: what follows from it is worked out once a round."""
    found: dict[tuple[int, int], tuple[B, A, R]] = {}

    def remembered(before: B, after: A) -> R:
        key = (id(before), id(after))
        if key not in found:
            found[key] = before, after, step(before, after)
        return found[key][2]

    return remembered
