"""Whether this daemon may program the kernel's network. Asked once, at its start."""

import os
from pathlib import Path

from node_agent.network.netns import inside, of_pid
from node_agent.network.nft import NftError, open_ruleset

_NEEDED = {12: "CAP_NET_ADMIN", 21: "CAP_SYS_ADMIN"}
_PROBE = "add table ip shoal_probe\ndelete table ip shoal_probe\n"


def missing_capabilities(status: str) -> list[str]:
    """Of what /proc/self/status says. Pure."""
    effective = next((int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapEff:")), 0)
    return [name for bit, name in _NEEDED.items() if not effective >> bit & 1]


def why_not(namespace: Path | None = None) -> str:
    """Why the kernel cannot be had for our data plane; empty when it can."""
    if missing := missing_capabilities(Path("/proc/self/status").read_text()):
        return f"the daemon runs without {' and '.join(missing)}"
    try:
        with inside(of_pid(os.getpid())):  # the kernel asks for the same rights as for any other
            pass
    except OSError as problem:
        return f"network namespaces cannot be entered: {problem.strerror}"
    try:
        rules = open_ruleset(namespace)
    except OSError as problem:
        return f"nftables cannot be used: {problem.strerror or problem}"
    try:
        rules.run(_PROBE)
    except (NftError, OSError) as problem:
        return f"nftables cannot be used: {str(problem).splitlines()[0]}"
    finally:
        rules.close()
    return ""
