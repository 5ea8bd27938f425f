"""How often everything that a storm is made of really happened: a fault that is never drawn, or does nothing, shows as a zero."""

import msgspec


class Tally(msgspec.Struct):
    """Counted where the thing takes effect, not where it is drawn."""

    messages_lost: int = 0
    messages_repeated: int = 0
    messages_late: int = 0
    messages_overtaken: int = 0
    """A frame of Raft arrived after one that was sent later."""
    messages_stopped: int = 0
    """On a link that was cut, in both directions."""
    messages_stopped_one_way: int = 0
    """While what was said the other way arrived."""
    connections_broken: int = 0
    crashes: int = 0
    power_failures: int = 0
    power_failures_in_a_write: int = 0
    unsynced_writes_lost: int = 0
    writes_on_full_disks: int = 0
    slow_syncs: int = 0
    ms_of_clock_drift: int = 0
    clocks_set: int = 0
    managers_made: int = 0
    managers_unmade: int = 0
    nodes_left: int = 0
    nodes_lost_for_good: int = 0
    """They left without a word, with their disks."""
    nodes_removed: int = 0
    leaderships_handed_over: int = 0
    snapshots_installed: int = 0
    tasks_failed: int = 0

    def counts(self) -> dict[str, int]:
        return {name.replace("_", " "): count for name, count in msgspec.structs.asdict(self).items()}
